"""What the tunnel refuses, before it reaches anybody: it is no open relay, and no bomb goes off."""

from __future__ import annotations

import gzip
import io
import json
import random
import socket
from typing import Any

import httpx
import pytest
import sentry_sdk

from collector import Collector
from sentry_segment.tunnel import SentryTunnel
from support import Init, some
from tunnels import EVENT, Serve, envelope

OTHERS = "https://public@127.0.0.1:1/2"


def own_dsn() -> str:
    found = sentry_sdk.get_client().dsn
    assert found is not None
    return found


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_are_refused(
    collector: Collector, init: Init, serve: Serve, method: str
) -> None:
    init()
    answer = httpx.request(method, serve(SentryTunnel()))
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert not collector.sentry_requests


def test_a_dsn_that_is_not_the_applications_reaches_nobody(
    collector: Collector, init: Init, serve: Serve
) -> None:
    integration = init()
    own = own_dsn()
    url = serve(SentryTunnel())
    host, _, project = own.rpartition("/")
    wrong: list[Any] = [
        OTHERS,
        f"{host}/{project}9",
        own.replace("://", "://x"),
        own.replace("127.0.0.1", "localhost"),
        own.replace("http:", "https:"),
        f"{host}/../{project}",
        "",
        "no dsn",
        "http://",
        None,
        5,
        ["x"],
    ]
    for dsn in wrong:
        body = envelope(dsn, ("event", EVENT))
        assert httpx.post(url, content=body).status_code == 403
    assert not collector.sentry_requests
    assert integration.stats.mirrored == 0


def test_the_dsns_that_are_given_are_passed_on_each_to_its_project(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    own = own_dsn()
    front, back = f"{own.rpartition('/')[0]}/71", f"{own.rpartition('/')[0]}/72"
    url = serve(SentryTunnel(dsns=[front, back]))
    answers = [
        httpx.post(url, content=envelope(dsn, ("event", EVENT))) for dsn in (front, back, own)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    paths = [path for path, _, _ in collector.sentry_requests]
    assert paths == ["/api/71/envelope/", "/api/72/envelope/"]


def test_without_a_client_nothing_is_passed_on(collector: Collector, serve: Serve) -> None:
    url = serve(SentryTunnel())
    assert httpx.post(url, content=envelope(collector.dsn)).status_code == 403
    assert not collector.sentry_requests


def test_a_redirect_is_not_followed(collector: Collector, init: Init, serve: Serve) -> None:
    init()
    collector.sentry_status = 307
    collector.sentry_headers = {"Location": f"{collector.url}/elsewhere"}
    answer = httpx.post(serve(SentryTunnel()), content=envelope(own_dsn(), ("event", EVENT)))
    assert answer.status_code == 307
    assert "location" not in answer.headers
    assert len(collector.sentry_requests) == 1
    assert not [call for call in collector.calls if "elsewhere" in call.path]


def test_pages_of_other_origins_are_refused_where_some_are_named(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    url = serve(SentryTunnel(allowed_origins=["https://shop.example"]))
    body = envelope(own_dsn(), ("event", EVENT))
    for origin in ("https://shop.example.evil", "null", ""):
        answer = httpx.post(url, content=body, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    answer = httpx.post(url, content=body, headers={"Origin": "https://shop.example"})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "X-Sentry-Rate-Limits" in answer.headers["Access-Control-Expose-Headers"]
    assert len(collector.sentry_requests) == 1


def test_bodies_over_the_bound_are_refused_compressed_or_not(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    url = serve(SentryTunnel(max_body_bytes=100_000))
    body = envelope(own_dsn(), ("attachment", b"x" * 200_000))
    bomb = gzip.compress(body)
    assert len(bomb) < 10_000
    assert httpx.post(url, content=body).status_code == 413
    assert httpx.post(url, content=bomb, headers={"Content-Encoding": "gzip"}).status_code == 413
    fits = envelope(own_dsn(), ("attachment", b"x" * 90_000))
    assert httpx.post(url, content=fits).status_code == 200
    assert len(collector.sentry_requests) == 1


@pytest.mark.parametrize("length", ["9" * 5_000, "0" * 5_000, "9" * 20])
def test_a_length_of_thousands_of_digits_is_one_that_is_too_long(length: str) -> None:
    """Which some servers pass on. Python itself raises for so many."""
    environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length, "wsgi.input": io.BytesIO(b"{}")}
    statuses: list[str] = []
    SentryTunnel().wsgi(environ, lambda status, headers: statuses.append(status))
    assert statuses[0].startswith("413 ")


def test_a_body_in_pieces_without_a_length_is_bounded_too(
    collector: Collector, init: Init, serve: Serve
) -> None:
    """WSGI's own server knows no such bodies, and is told the length that is missing."""
    init()
    url = serve(SentryTunnel(max_body_bytes=100_000))
    pieces = [b"x" * 10_000] * 30
    assert httpx.post(url, content=iter(pieces)).status_code in (411, 413)
    assert not collector.sentry_requests


@some
@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"", "", 400),
        (b"\n", "", 400),
        (b"[]\n", "", 400),
        (b"{}", "", 403),
        (b"\xff\xfe", "", 400),
        (b"[" * 100_000, "", 400),
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"{}", mtime=0)[:-4], "gzip", 400),
        (b"x", "zstd", 415),
    ],
)
def test_broken_bodies_are_refused(
    collector: Collector, init: Init, serve: Serve, body: bytes, encoding: str, status: int
) -> None:
    init()
    headers = {"Content-Encoding": encoding} if encoding else {}
    answer = httpx.post(serve(SentryTunnel()), content=body, headers=headers)
    assert answer.status_code == status
    assert not collector.sentry_requests


def test_lengths_that_lie_are_refused(collector: Collector, init: Init, serve: Serve) -> None:
    integration = init()
    url = serve(SentryTunnel())
    head = json.dumps({"dsn": own_dsn()}).encode()
    for item in (
        b'{"type":"event","length":5}\n{}',
        b'{"type":"event","length":1}\n{}',
        b'{"type":"event","length":-1}\n{}',
        b'{"type":"event","length":1e3}\n{}',
        b'{"type":"event","length":true}\n{}',
        b'{"type":5}\n{}',
        b"[]\n{}",
        b"no json\n{}",
    ):
        assert httpx.post(url, content=head + b"\n" + item).status_code == 400
    assert not collector.sentry_requests
    assert integration.stats.mirrored == 0


def test_fuzzed_envelopes_raise_nothing_and_go_on_as_they_came(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    url = serve(SentryTunnel())
    good = envelope(own_dsn(), ("event", EVENT), ("attachment", b"\x00\xff\n"), ("session", {}))
    chance = random.Random(7)
    passed = 0
    with httpx.Client() as browser:
        for _ in range(150):
            body = bytearray(good)
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(body))
                piece = bytes(chance.randrange(256) for _ in range(chance.randrange(3)))
                body[at : at + chance.randrange(3)] = piece
            answer = browser.post(url, content=bytes(body))
            assert answer.status_code in (200, 400, 403)
            if len(collector.sentry_requests) > passed:
                passed += 1
                assert collector.sentry_requests[-1][2] == bytes(body)
            else:
                assert answer.status_code != 200
    assert passed > 20


def test_thousands_of_items_are_passed_on(collector: Collector, init: Init, serve: Serve) -> None:
    init()
    items: list[tuple[str, Any]] = [("session", {}), ("event", EVENT)] * 2_000
    body = envelope(own_dsn(), *items)
    url = serve(SentryTunnel(max_body_bytes=10_000_000))
    assert httpx.post(url, content=body, timeout=60.0).status_code == 200
    [message] = collector.wait_for_messages(1)
    assert message["messageId"] == EVENT["event_id"]


def test_a_client_that_leaves_in_the_midst_of_its_body_costs_nothing(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    url = serve(SentryTunnel(max_concurrent=1))
    with socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 80)) as gone:
        gone.sendall(b"POST /tunnel HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    body = envelope(own_dsn(), ("event", EVENT))
    assert httpx.post(url, content=body).status_code == 200


def test_a_body_that_is_cut_off_is_no_envelope(collector: Collector, init: Init) -> None:
    """Some WSGI servers hand over what there is of it."""
    init()
    body = envelope(own_dsn(), ("event", EVENT))
    cut_off = body.rpartition(b"\n{")[0].rpartition(b"\n")[0]  # the header, an envelope by itself
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(cut_off),
    }
    SentryTunnel().wsgi(environ, lambda status, headers: said.append(status))
    assert said == ["400 Bad Request"]
    assert collector.sentry_requests == []
