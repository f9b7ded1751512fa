"""What browsers, proxies and a full machine do to a tunnel: it costs one envelope at the most."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import uuid
from decimal import Decimal
from typing import Any

import anyio.to_thread
import httpx
import pytest
from django.utils.functional import lazystr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response
from starlette.routing import Route

from collector import Collector
from sentry_segment.tunnel import SentryTunnel
from support import Init
from tunnels import EVENT, Serve, by_asgi, envelope


@pytest.fixture
def body(collector: Collector) -> bytes:
    return envelope(collector.dsn, ("event", EVENT))


def post(tunnel: SentryTunnel, body: Any, **environ: str) -> str:
    """The status that a WSGI server is told."""
    told: list[str] = []
    stream = body if hasattr(body, "read") else io.BytesIO(body)
    length = {} if hasattr(body, "read") else {"CONTENT_LENGTH": str(len(body))}
    request = {"REQUEST_METHOD": "POST", "wsgi.input": stream, **length, **environ}
    tunnel.wsgi(request, lambda status, headers: told.append(status))
    return told[0]


class Gone:
    """The body of a browser that has left, as each server has an exception of its own for it."""

    def read(self, size: int) -> bytes:
        raise ConnectionResetError("gone")


def test_a_browser_that_leaves_is_no_error_of_the_application(
    collector: Collector, init: Init
) -> None:
    init()
    assert post(SentryTunnel(), Gone(), CONTENT_LENGTH="9").startswith("400")
    assert not collector.events


def test_a_browser_that_leaves_is_no_error_of_the_applications_middleware(
    collector: Collector, init: Init
) -> None:
    init()

    async def passing(request: Any, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        return answer

    app = Starlette(
        routes=[Route("/tunnel", SentryTunnel())],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=passing)],
    )
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/tunnel",
        "headers": [],
        "query_string": b"",
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 400
    assert not collector.events


@pytest.mark.parametrize(
    ("told", "user_id"),
    [
        (uuid.UUID(int=7), str(uuid.UUID(int=7))),
        (lazystr("1906"), "1906"),
        (Decimal(19), "19"),
        (19, "19"),
    ],
    ids=["uuid", "lazy", "decimal", "int"],
)
def test_whatever_an_application_has_for_ids_is_told_as_a_text(
    collector: Collector, init: Init, serve: Serve, body: bytes, told: Any, user_id: str
) -> None:
    init()
    assert httpx.post(serve(SentryTunnel(user_id=lambda _: told)), content=body).is_success
    [message] = collector.wait_for_messages(1)
    assert message["userId"] == user_id


def test_who_does_not_say_in_time_who_it_is_holds_up_no_envelope(
    collector: Collector, init: Init, body: bytes
) -> None:
    integration = init()

    async def user_id(request: Any) -> str:
        await asyncio.Event().wait()
        return "never"

    with by_asgi(SentryTunnel(user_id=user_id, timeout=0.3, max_concurrent=1)) as url:
        assert [httpx.post(url, content=body).status_code for _ in range(2)] == [200, 200]
    assert [body for _, _, body in collector.sentry_requests].count(body) == 2
    assert integration.stats.dropped["before_track"] == 2
    assert integration.stats.mirrored == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_fork_has_all_its_places(
    collector: Collector, init: Init, body: bytes
) -> None:
    init()
    tunnel = SentryTunnel(max_concurrent=1)
    with tunnel._core.on_its_way():
        assert post(tunnel, body).startswith("429")
        child = os.fork()
        if not child:
            os._exit(not post(tunnel, body).startswith("200"))
    assert os.waitpid(child, 0)[1] == 0


def test_where_no_thread_can_be_started_the_browser_is_told(
    init: Init, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    init()

    async def full(*given: Any, **named: Any) -> None:
        raise RuntimeError("can't start new thread")

    with by_asgi(SentryTunnel()) as url:
        monkeypatch.setattr(anyio.to_thread, "run_sync", full)
        answer = httpx.post(url, content=body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("agent", ["Browser/7\x0b", "  Browser/7 ", "\x7fBrowser\0/7"])
def test_a_header_that_can_not_be_passed_on_is_mended(
    collector: Collector, init: Init, body: bytes, agent: str
) -> None:
    init()
    assert post(SentryTunnel(), body, HTTP_USER_AGENT=agent).startswith("200")
    [headers] = [headers for _, headers, sent in collector.sentry_requests if sent == body]
    assert headers["user-agent"] == "Browser/7"


def test_headers_of_one_name_are_one(collector: Collector, init: Init, body: bytes) -> None:
    asked: list[Any] = []
    init()

    def user_id(request: Any) -> None:
        asked.append(request)

    headers = [("Cookie", "a=1"), ("Cookie", "b=2"), ("X-Any", "1"), ("X-Any", "2")]
    with by_asgi(SentryTunnel(user_id=user_id)) as url:
        assert httpx.post(url, content=body, headers=headers).is_success
    [request] = asked
    assert request.cookies == {"a": "1", "b": "2"}
    assert request.headers["x-any"] == "1, 2"


def test_the_event_loop_serves_others_while_an_envelope_is_read(
    collector: Collector, init: Init, body: bytes
) -> None:
    """It may take long: it is read in a thread."""
    where: list[threading.Thread] = []

    def hook(message: Any, event: Any) -> None:
        where.append(threading.current_thread())

    init(segment={"before_track": hook})
    loops: list[threading.Thread] = []

    class Watched(SentryTunnel):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            loops.append(threading.current_thread())
            await super().__call__(scope, receive, send)

    with by_asgi(Watched()) as url:
        assert httpx.post(url, content=body).is_success
    assert where
    assert where[0] not in loops


def test_a_header_with_thousands_of_parts_is_read_as_any(collector: Collector, init: Init) -> None:
    init()
    event = {**EVENT, "request": {"headers": [["User-Agent", [None, "", *range(9)]]]}}
    assert post(SentryTunnel(), envelope(collector.dsn, ("event", event))).startswith("200")
    [message] = collector.wait_for_messages(1)
    assert message["context"]["userAgent"] == "0,1,2,3,4,5,6,7,8"
