"""What Sentry's servers add to a browser's event: whose address it is, and which browser."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import sentry_sdk

from collector import Collector
from sentry_segment.tunnel import SentryTunnel
from sentry_segment.tunnel.browser import completed
from sentry_segment.tunnel.request import client_address
from support import Init
from tunnels import EVENT, Serve, by_wsgi, envelope

SEEN = "198.51.100.6"

# What Relay (sentry-relay 0.9.0) makes of `user.ip_address`, where it has seen the event come from
# SEEN. The bindings of later ones leave that to Relay's server. What `infer_ip` means is as its
# specification says.
ADDRESSES: list[tuple[dict[str, Any], str | None]] = [
    ({}, SEEN),
    ({"user": None}, SEEN),
    ({"user": {"id": "1", "ip_address": "{{auto}}"}}, SEEN),
    ({"user": {"id": "1", "ip_address": "192.0.2.1"}}, "192.0.2.1"),
    ({"platform": "cocoa"}, SEEN),
    ({"platform": "objc"}, SEEN),
    ({"platform": "node"}, None),
    ({"platform": "python"}, None),
    ({"platform": "python", "user": {"ip_address": "{{auto}}"}}, SEEN),
    ({"platform": None}, None),
    ({"request": {"env": {"REMOTE_ADDR": "192.0.2.9"}}}, None),  # which the mapping takes
    ({"platform": "node", "request": {"env": {"REMOTE_ADDR": "{{auto}}"}}}, SEEN),
    ({"sdk": {"settings": {"infer_ip": "never"}}}, None),
    ({"sdk": {"settings": {"infer_ip": "auto"}}}, SEEN),
    ({"sdk": {"settings": {"infer_ip": "auto"}}, "platform": "other"}, SEEN),
    ({"sdk": {"settings": {"infer_ip": "legacy"}}}, SEEN),
    ({"sdk": {"settings": {"infer_ip": "legacy"}}, "platform": "other"}, None),
    ({"sdk": {"settings": {"infer_ip": None}}}, SEEN),
    ({"sdk": {"settings": {"infer_ip": "sometimes"}}}, None),
    ({"sdk": {"settings": {"infer_ip": ["auto"]}}}, None),
    ({"sdk": {"settings": 5}, "user": "x", "request": "x"}, SEEN),
]


@pytest.mark.parametrize(("given", "expected"), ADDRESSES)
def test_the_address_is_that_which_relay_would_add(
    given: dict[str, Any], expected: str | None
) -> None:
    event = {"platform": "javascript", "user": {"id": "1"}, **given}
    before = repr(event)
    user = completed(event, SEEN, "")["user"]
    assert (user.get("ip_address") if isinstance(user, dict) else None) == expected
    assert repr(event) == before
    assert completed(event, None, "") == event


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (None, "Browser/9"),
        ({"url": "https://h/"}, "Browser/9"),
        ({"headers": {"Referer": "https://h/"}}, "Browser/9"),
        ({"headers": [["user-agent", "Own/1"]]}, "Own/1"),
        ({"headers": {"User-Agent": "Own/1"}}, "Own/1"),
        ({"headers": {"User-Agent": ""}}, "Browser/9"),
        ({"headers": "x"}, "Browser/9"),
        ("x", "Browser/9"),
    ],
)
def test_the_browsers_name_is_added_where_the_event_has_none(
    collector: Collector, init: Init, request_: Any, expected: str
) -> None:
    integration = init()
    event = completed({**EVENT, "request": request_}, None, "Browser/9")
    mirror = integration.mirror_of(sentry_sdk.get_client())
    mirror.mirror_browsers(event, collector.dsn, None)
    [message] = collector.wait_for_messages(1)
    assert message["context"]["userAgent"] == expected


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "trusted", "expected"),
    [
        ("192.0.2.1", "", 0, "192.0.2.1"),
        ("192.0.2.1", "203.0.113.7", 0, "192.0.2.1"),
        ("192.0.2.1", "203.0.113.7", 1, "203.0.113.7"),
        ("192.0.2.1", "6.6.6.6, 203.0.113.7", 1, "203.0.113.7"),
        ("192.0.2.1", "6.6.6.6, 203.0.113.7, 192.0.2.2", 2, "203.0.113.7"),
        ("192.0.2.1", "203.0.113.7", 5, "203.0.113.7"),
        ("192.0.2.1", "203.0.113.7:4711", 1, "203.0.113.7"),
        ("192.0.2.1", "unknown", 1, None),
        ("192.0.2.1", "<script>", 1, None),
        ("192.0.2.1", "[2001:db8::7]:4711", 1, "2001:db8::7"),
        ("2001:db8::7", "", 0, "2001:db8::7"),
        (None, "", 0, None),
        ("testclient", "", 0, None),
    ],
)
def test_behind_proxies_the_address_is_that_which_the_first_of_them_saw(
    peer: object, forwarded_for: str, trusted: int, expected: str | None
) -> None:
    assert client_address(peer, forwarded_for, trusted) == expected


def test_a_header_that_the_client_may_have_made_up_is_not_believed(
    collector: Collector, init: Init, serve: Serve
) -> None:
    init()
    dsn = sentry_sdk.get_client().dsn
    assert dsn is not None
    forwarded = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"}
    for tunnel, expected in (
        (SentryTunnel(), "127.0.0.1"),
        (SentryTunnel(trusted_proxies=1), "203.0.113.7"),
    ):
        httpx.post(serve(tunnel), content=envelope(dsn, ("event", EVENT)), headers=forwarded)
        assert collector.wait_for(lambda: len(collector.calls) == len(collector.sentry_requests))
        message = collector.messages[-1]
        assert message["context"]["ip"] == expected
        assert collector.sentry_requests[-1][1]["x-forwarded-for"] == expected


@pytest.mark.parametrize("given", [{}, {"event_id": "1" * 32}])
def test_the_id_is_that_of_the_envelope(
    collector: Collector, init: Init, given: dict[str, str]
) -> None:
    init()
    dsn = sentry_sdk.get_client().dsn
    assert dsn is not None
    event = {**{name: EVENT[name] for name in EVENT if name != "event_id"}, **given}
    with by_wsgi(SentryTunnel()) as url:
        httpx.post(url, content=envelope(dsn, ("event", event), event_id="2" * 32))
        [message] = collector.wait_for_messages(1)
    assert message["messageId"] == message["properties"]["eventId"] == "2" * 32
