"""Who may ask the inspector, and who may send to it."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest
import sentry_sdk

from inspectors import NOW, Poster, envelope, event, message
from sentry_segment import SegmentIntegration
from sentry_segment.inspector.server import Inspector
from support import WRITE_KEY, capture, some

# Names


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:1", "[::1]:80", "LOCALHOST:8010", "192.0.2.1:8010"]
)
def test_the_names_of_this_machine_and_addresses_are_let_in(app: Poster, host: str) -> None:
    assert app.http.get("/", headers={"Host": host}).status_code == 200


@some
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil:8010", "[", "", "a@b@[::1"]
)
@pytest.mark.parametrize("path", ["/", "/inspector/records", "/inspector/stream"])
def test_other_names_are_not(inspector: Inspector, app: Poster, host: str, path: str) -> None:
    """A page of evil.example, whose name suddenly leads to 127.0.0.1, can read nothing."""
    assert app.http.get(path, headers={"Host": host}).status_code == 421
    assert app.segment(message(), headers={"Host": host}).status_code == 421
    assert inspector.store.records == []


def test_names_that_are_allowed_are_let_in_also_where_others_reach_it() -> None:
    with Inspector("0.0.0.0", allow_hosts=["Inspector", "host.docker.internal"]) as inspector:
        for name in ("inspector:8010", "HOST.docker.internal:1", "127.0.0.1"):
            answer = httpx.get(inspector.url, headers={"Host": name}, trust_env=False)
            assert answer.status_code == 200
        answer = httpx.get(inspector.url, headers={"Host": "evil.example"}, trust_env=False)
        assert (answer.status_code, "--allow-host" in answer.text) == (421, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "0", "localhost", "127.0.0.1", "::1"])
def test_its_address_is_one_that_can_be_opened(host: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with Inspector(host) as inspector:
        assert "0.0.0.0" not in inspector.url
        assert "[::]" not in inspector.url
        assert httpx.get(inspector.url, trust_env=False).is_success


# Pages of other origins

LOOPBACK_ORIGINS = ["http://localhost:3000", "https://127.0.0.1", "http://shop.localhost:1"]
OTHER_ORIGINS = ["https://evil.example", "null", "http://[", "http://localhost.evil.example"]
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


@pytest.mark.parametrize("origin", LOOPBACK_ORIGINS)
def test_pages_of_this_machine_can_send(inspector: Inspector, app: Poster, origin: str) -> None:
    headers = {"Origin": origin}
    for path in ("/v1/t", "/api/1/envelope/", "/stream"):
        asked = app.http.options(path, headers={**headers, **ASKED})
        assert asked.status_code == 204
        assert asked.headers["Access-Control-Allow-Headers"] == "authorization"
        assert "POST" in asked.headers["Access-Control-Allow-Methods"]
        assert asked.headers["Access-Control-Allow-Origin"] == origin
        assert "Access-Control-Allow-Private-Network" not in asked.headers
    sent = app.segment(message(), headers=headers)
    assert sent.is_success
    assert sent.headers["Access-Control-Allow-Origin"] == origin
    assert sent.headers["Vary"] == "Origin"
    assert len(inspector.store.records) == 1


@pytest.mark.parametrize("origin", [*LOOPBACK_ORIGINS, *OTHER_ORIGINS])
def test_no_page_of_another_origin_can_read_or_clear(
    inspector: Inspector, app: Poster, origin: str
) -> None:
    app.segment(message())
    headers = {"Origin": origin}
    for path in ("/", "/inspector/records", "/inspector/stream", "/inspector/icon.svg"):
        answer = app.http.get(path, headers=headers)
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert app.http.options("/inspector/clear", headers={**headers, **ASKED}).status_code == 403
    assert app.http.post("/inspector/clear", headers=headers).status_code == 403
    assert len(inspector.store.records) == 1


@pytest.mark.parametrize("origin", OTHER_ORIGINS)
def test_other_pages_cant_send(inspector: Inspector, app: Poster, origin: str) -> None:
    headers = {"Origin": origin}
    assert app.segment(message(), headers=headers).status_code == 403
    assert app.http.options("/v1/t", headers={**headers, **ASKED}).status_code == 403
    assert app.http.get("/v1/projects/k/settings", headers=headers).status_code == 403
    assert inspector.store.records == []


def test_pages_that_are_allowed_can_send() -> None:
    shop = "https://shop.example"
    allowed = ["https://Shop.example", "null"]
    with Inspector(allow_origins=allowed) as inspector, Poster(inspector.url) as app:
        private = {"Origin": shop, "Access-Control-Request-Private-Network": "true", **ASKED}
        asked = app.http.options("/v1/track", headers=private)
        assert asked.headers["Access-Control-Allow-Private-Network"] == "true"
        for origin, status in ((shop, 200), ("null", 200), (f"{shop}:8443", 403)):
            assert app.segment(message(), headers={"Origin": origin}).status_code == status


# What people point at it


def test_an_application_that_runs_with_spotlight_keeps_its_own_dsn(
    inspector: Inspector, app: Poster
) -> None:
    with Inspector() as sentry:  # in the place of the real one
        integration = SegmentIntegration(write_key=WRITE_KEY, host=inspector.url)
        sentry_sdk.init(
            dsn=sentry.dsn, integrations=[integration], spotlight=f"{inspector.url}/stream"
        )
        event_id = capture(id="1906")
        sentry_sdk.flush(timeout=30.0)
        assert [record.id for record in sentry.store.records] == [event_id]
        spotlight: Any = sentry_sdk.get_client().spotlight
        spotlight.http.clear()  # which the SDK leaves to garbage collection
    sides = {record.side: record for record in inspector.store.records}
    assert sides["sentry"].id == sides["segment"].id == event_id
    assert sides["sentry"].path == "/stream"
    assert app.http.get("/stream").status_code == 405


def test_segments_library_for_browsers_gets_its_settings_and_sends(
    inspector: Inspector, app: Poster
) -> None:
    """As @segment/analytics-next does with this address as its cdnURL."""
    origin = {"Origin": "http://localhost:3000"}
    answer = app.http.get(f"/v1/projects/{WRITE_KEY}/settings", headers=origin)
    assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    source: dict[str, Any] = answer.json()["integrations"]["Segment.io"]
    assert source["apiKey"] == WRITE_KEY
    assert f"{source['protocol']}://{source['apiHost']}" == f"{inspector.url}/v1"
    headers = {**origin, "Content-Type": "text/plain"}
    kinds = {"t": "track", "p": "page", "i": "identify", "g": "group", "a": "alias", "s": "screen"}
    for path, kind in kinds.items():
        sent = message(type=kind, messageId=path, writeKey=WRITE_KEY, sentAt=NOW)
        assert app.segment(sent, path, headers=headers).is_success
    batch = {"batch": [message(messageId="b")], "sentAt": NOW, "writeKey": WRITE_KEY}
    assert app.segment(batch, "b", auth=None, headers=headers).is_success
    records = inspector.store.records
    assert [record.objections for record in records] == [()] * 7
    assert [record.path for record in records] == [f"/v1/{path}" for path in [*kinds, "b"]]
    assert [record.summary["kind"] for record in records] == [*kinds.values(), "track"]


def test_sentrys_sdk_for_browsers_sends_without_asking_first(
    inspector: Inspector, app: Poster
) -> None:
    headers = {"Origin": "http://localhost:3000", "Content-Type": "text/plain;charset=UTF-8"}
    path = "/api/1/envelope/?sentry_version=7&sentry_key=public"
    answer = app.http.post(path, content=envelope(event()), headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == headers["Origin"]
    assert len(inspector.store.records) == 1
