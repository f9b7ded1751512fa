"""The tunnel: what is passed on to Sentry, and what of it is mirrored."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import sentry_sdk

from collector import Collector
from sentry_segment.tunnel import SentryTunnel, TunnelRequest
from support import Init, logged
from tunnels import EVENT, Serve, by_asgi, by_wsgi, envelope

ID = "8b1c7a1e-52d1-4a0b-9f6c-0d6f6a3f2c11"


def dsn() -> str:
    found = sentry_sdk.get_client().dsn
    assert found is not None
    return found


def test_an_envelope_is_passed_on_as_it_came_and_its_error_is_mirrored(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    url = serve(SentryTunnel())
    body = envelope(dsn(), ("event", EVENT), ("session", {"sid": "1"}))
    answer = httpx.post(url, content=body, headers={"Content-Type": "text/plain;charset=UTF-8"})
    assert answer.status_code == 200
    assert answer.content == b"{}"
    sentry_sdk.flush(10.0)
    [(path, headers, passed)] = collector.sentry_requests
    assert passed == body
    assert path == f"/api/{dsn().rpartition('/')[2]}/envelope/"
    assert headers["content-type"] == "text/plain;charset=UTF-8"
    [message] = collector.wait_for_messages(1)
    assert message["messageId"] == EVENT["event_id"]
    assert message["userId"] == "1906"
    assert message["properties"]["exceptionType"] == "TypeError"
    assert message["context"]["page"]["search"] == "step=2&token=[Filtered]"
    assert message["context"]["userAgent"] == "Browser/7"
    assert message["context"]["library"]["name"] == "sentry"


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_compressed_body_is_passed_on_compressed_and_read(
    collector: Collector, init: Init, serve: Serve, compress: Any
) -> None:
    init()
    url = serve(SentryTunnel())
    body = compress(envelope(dsn(), ("event", EVENT)))
    encoding = "gzip" if compress is gzip.compress else "deflate"
    httpx.post(url, content=body, headers={"Content-Encoding": encoding})
    collector.wait_for_messages(1)
    [(_, headers, passed)] = collector.sentry_requests
    assert passed == body
    assert headers["content-encoding"] == encoding


def test_what_belongs_to_the_application_is_not_passed_on(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    url = serve(SentryTunnel())
    secret = {"Cookie": "session=s3cr3t", "Authorization": "Bearer s3cr3t", "X-Own": "s3cr3t"}
    agent = {"User-Agent": "Browser/8", "Origin": "https://shop.example"}
    httpx.post(url, content=envelope(dsn(), ("event", EVENT)), headers={**secret, **agent})
    [(_, headers, _)] = collector.sentry_requests
    assert "s3cr3t" not in str(headers)
    assert headers["user-agent"] == "Browser/8"
    assert headers["origin"] == "https://shop.example"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert not {"sentry-trace", "baggage", "traceparent"} & set(headers)


def test_sentrys_status_and_limits_come_back_and_the_error_is_mirrored_all_the_same(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    url = serve(SentryTunnel())
    collector.sentry_status = 429
    collector.sentry_headers = {"Retry-After": "60", "X-Sentry-Rate-Limits": "60:error:key"}
    answer = httpx.post(url, content=envelope(dsn(), ("event", EVENT)))
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"
    assert answer.headers["X-Sentry-Rate-Limits"] == "60:error:key"
    collector.wait_for_messages(1)


def test_while_sentry_is_down_errors_are_mirrored(
    collector: Collector, init: Init, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Collector()
    gone.start()
    gone.stop()
    init(dsn=gone.dsn, segment={"host": collector.url})
    url = serve(SentryTunnel())
    answer = httpx.post(url, content=envelope(dsn(), ("event", EVENT)))
    assert answer.status_code == 502
    collector.wait_for_messages(1)
    assert "The tunnel got no answer from Sentry: ConnectError" in logged(caplog)
    with gone:  # it is back
        answer = httpx.post(url, content=envelope(dsn(), ("event", EVENT)))
        assert answer.status_code == 200


def test_what_does_not_qualify_is_passed_on_alone(
    collector: Collector, init: Init, serve: Serve
) -> None:
    integration = init()
    url = serve(SentryTunnel())
    others: list[tuple[str, Any]] = [
        ("event", {**EVENT, "user": {"email": "jo@shop.example"}}),
        ("event", {**EVENT, "exception": None, "message": "hello"}),
        ("event", b"\xff no json"),
        ("event", b"[1]"),
        ("transaction", {"type": "transaction", "user": {"id": "1906"}}),
        ("session", {"sid": "1"}),
        ("replay_recording", b"\x00\xff binary \n of two lines"),
        ("client_report", {"discarded_events": []}),
    ]
    for item in others:
        body = envelope(dsn(), item)
        assert httpx.post(url, content=body).status_code == 200
        assert collector.sentry_requests[-1][2] == body
    assert integration.stats.mirrored == 0


def test_without_an_integration_it_passes_on(
    collector: Collector, init: Init, serve: Serve
) -> None:
    sentry_sdk.init(collector.dsn)
    url = serve(SentryTunnel())
    answer = httpx.post(url, content=envelope(dsn(), ("event", EVENT)))
    assert answer.status_code == 200
    assert len(collector.sentry_requests) == 1


def test_the_application_says_who_it_is(collector: Collector, init: Init, serve: Serve) -> None:
    init()
    seen: list[TunnelRequest] = []

    def user_id(request: TunnelRequest) -> str | None:
        seen.append(request)
        return {"abc": "7", "": None}[request.cookies.get("session", "")]

    url = serve(SentryTunnel(user_id=user_id))
    body = envelope(dsn(), ("event", EVENT))
    httpx.post(url, content=body, headers={"Cookie": "session=abc"})
    httpx.post(url, content=body)  # of nobody who is logged in, whatever the browser says
    [message] = collector.wait_for_messages(1)
    assert message["userId"] == "7"
    assert seen[0].address == "127.0.0.1"
    assert seen[0].scope
    assert [request[2] for request in collector.sentry_requests] == [body, body]


def test_a_function_that_fails_costs_the_mirrors_copy_alone(
    collector: Collector, init: Init, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    integration = init()

    def user_id(request: TunnelRequest) -> str:
        raise LookupError("no session")

    url = serve(SentryTunnel(user_id=user_id))
    assert httpx.post(url, content=envelope(dsn(), ("event", EVENT))).status_code == 200
    assert len(collector.sentry_requests) == 1
    assert integration.stats.mirrored == 0
    assert integration.stats.dropped["before_track"] == 1
    assert "user_id raised LookupError: no session" in logged(caplog)


def test_visitors_are_known_by_the_cookie_of_the_request(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init(segment={"anonymous": True, "sentry_url": "https://acme.sentry.io"})
    url = serve(SentryTunnel(user_id=lambda request: None))
    cookie = {"Cookie": f"a=b; ajs_anonymous_id=%22{ID}%22"}
    httpx.post(url, content=envelope(dsn(), ("event", EVENT)), headers=cookie)
    [message] = collector.wait_for_messages(1)
    assert message["anonymousId"] == ID
    assert "userId" not in message
    project = dsn().rpartition("/")[2]
    assert message["properties"]["sentryUrl"].endswith(
        f"project={project}&query={EVENT['event_id']}"
    )


def test_the_hook_edits_a_browsers_message_too(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init(segment={"before_track": lambda message, event: {**message, "event": event["platform"]}})
    url = serve(SentryTunnel())
    httpx.post(url, content=envelope(dsn(), ("event", EVENT)))
    [message] = collector.wait_for_messages(1)
    assert message["event"] == "javascript"


def test_many_at_once_arrive_once_each(collector: Collector, init: Init, serve: Serve) -> None:
    init()
    url = serve(SentryTunnel())
    bodies = [
        envelope(dsn(), ("event", {**EVENT, "event_id": f"{n:032x}", "user": {"id": str(n)}}))
        for n in range(60)
    ]
    with httpx.Client() as browser, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: browser.post(url, content=body), bodies))
    assert {answer.status_code for answer in answers} == {200}
    messages = collector.wait_for_messages(60)
    assert {(m["messageId"], m["userId"]) for m in messages} == {
        (f"{n:032x}", str(n)) for n in range(60)
    }
    assert sorted(passed for _, _, passed in collector.sentry_requests) == sorted(bodies)


def test_past_so_many_at_once_the_others_are_told_to_wait(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    inside, go = threading.Semaphore(0), threading.Event()

    def hold(side: str, payload: Any) -> None:
        if side == "sentry":
            inside.release()
            assert go.wait(60.0)

    collector.on_arrival = hold
    url = serve(SentryTunnel(max_concurrent=2, timeout=60.0))
    body = envelope(dsn(), ("event", EVENT))
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(httpx.post, url, content=body, timeout=60.0) for _ in range(2)]
        assert inside.acquire(timeout=60.0)
        assert inside.acquire(timeout=60.0)
        refused = httpx.post(url, content=body)
        go.set()
        assert [each.result().status_code for each in waiting] == [200, 200]
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    assert httpx.post(url, content=body).status_code == 200


def test_a_sentry_that_does_not_answer_in_time_is_told(
    collector: Collector, init: Init, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    init()
    go = threading.Event()

    def hold(side: str, payload: Any) -> None:
        if side == "sentry":
            go.wait(60.0)

    collector.on_arrival = hold
    url = serve(SentryTunnel(timeout=0.3))
    answer = httpx.post(url, content=envelope(dsn(), ("event", EVENT)), timeout=60.0)
    go.set()
    assert answer.status_code == 504
    assert "The tunnel got no answer from Sentry: ReadTimeout" in logged(caplog)
    collector.wait_for_messages(1)


def test_a_status_that_has_no_name_comes_back(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    collector.sentry_status = 499
    answer = httpx.post(serve(SentryTunnel()), content=envelope(dsn(), ("event", EVENT)))
    assert answer.status_code == 499


def test_who_it_is_may_be_asked_asynchronously_where_the_server_is(
    collector: Collector, init: Init, caplog: pytest.LogCaptureFixture
) -> None:
    integration = init()

    async def user_id(request: TunnelRequest) -> int:
        return 7

    body = envelope(dsn(), ("event", EVENT))
    with by_wsgi(SentryTunnel(user_id=user_id)) as url:
        assert httpx.post(url, content=body).status_code == 200
    assert "user_id raised TypeError: it is asynchronous, which WSGI is not" in logged(caplog)
    assert integration.stats.mirrored == 0
    with by_asgi(SentryTunnel(user_id=user_id)) as url:
        assert httpx.post(url, content=body).status_code == 200
    [message] = collector.wait_for_messages(1)
    assert message["userId"] == "7"


def test_a_child_of_a_fork_has_connections_of_its_own(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    tunnel = SentryTunnel()
    url = serve(tunnel)
    body = envelope(dsn(), ("event", EVENT))
    assert httpx.post(url, content=body).status_code == 200
    [forwarder] = tunnel._core._forwarders.values()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, str(forwarder.post(body, {}).status).encode())
        finally:
            os._exit(0)
    assert os.read(read, 10) == b"200"
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    assert httpx.post(url, content=body).status_code == 200


def test_what_an_asgi_server_has_besides_requests(collector: Collector, init: Init) -> None:
    """A lifespan, in which the connections are closed; and a websocket, which is refused."""
    init()
    tunnel = SentryTunnel()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def lifespan() -> None:
        steps = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> Any:
            return {"type": next(steps)}

        await tunnel({"type": "lifespan"}, receive, send)
        await tunnel({"type": "websocket"}, receive, send)

    with by_asgi(tunnel) as url:
        httpx.post(url, content=envelope(dsn(), ("event", EVENT)))
    asyncio.run(lifespan())
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
        "websocket.close",
    ]


def test_headers_of_other_alphabets_go_both_ways(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    collector.sentry_headers = {"X-Sentry-Error": "caf\xe9"}
    agent = "Bröwser/7".encode("latin-1")
    body = envelope(dsn(), ("event", EVENT))
    answer = httpx.post(serve(SentryTunnel()), content=body, headers={b"User-Agent": agent})
    assert answer.status_code == 200
    assert answer.headers["X-Sentry-Error"] == "caf\xe9"
    assert collector.sentry_requests[0][1]["user-agent"] == "Bröwser/7"


def test_bodies_that_come_slowly_keep_nobody_out(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    url = httpx.URL(serve(SentryTunnel(max_concurrent=1)))
    with socket.create_connection((url.host, url.port or 80)) as slow:
        slow.sendall(b"POST /tunnel HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        body = envelope(dsn(), ("event", EVENT))
        assert [httpx.post(url, content=body).status_code for _ in range(3)] == [200, 200, 200]


def test_a_cookie_of_sentrys_is_nobodys(collector: Collector, init: Init, serve: Serve) -> None:
    init()
    collector.sentry_headers = {"Set-Cookie": "balancer=7; Path=/"}
    url = serve(SentryTunnel())
    answers = [httpx.post(url, content=envelope(dsn(), ("event", EVENT))) for _ in range(2)]
    assert not any("set-cookie" in answer.headers for answer in answers)
    assert not any("cookie" in headers for _, headers, _ in collector.sentry_requests)
