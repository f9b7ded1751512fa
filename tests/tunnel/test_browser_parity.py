"""What Segment receives of browsers' errors is what Sentry's plugin would have sent for them.

The bindings of Sentry's Relay no longer fill in whose address it is, which Relay's server does:
`_as_relays_server` says how. It was compared with the last of the bindings that did, 0.9.0.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import httpx
import sentry_sdk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import plugin
from collector import Collector
from events import events, mostly
from parity import assert_parity, payloads
from sentry_segment.tunnel import SentryTunnel
from support import Init, many
from tunnels import envelope

SEEN, AGENT = "198.51.100.6", "Browser/9"
THEIRS = ("javascript", "cocoa", "objc")

platforms = mostly(st.sampled_from(THEIRS), st.sampled_from(["node", "python", None, {}]))


def _as_relays_server(event: dict[str, Any]) -> dict[str, Any]:
    """A normalised event with the address that it was seen to come from, and the agent."""
    request = event.get("request")
    if request is not None and not plugin.header(request, "user-agent"):
        request = {**request, "headers": [*(request.get("headers") or []), ["User-Agent", AGENT]]}
    if request is None:
        request = {"headers": [["User-Agent", AGENT]]}
    user = event.get("user") or {}
    setting = ((event.get("sdk") or {}).get("settings") or {}).get("infer_ip", "legacy")
    address = user.get("ip_address")
    is_a_browsers = event["platform"] in THEIRS or setting == "auto"
    if address == "{{auto}}" or (
        address is None and setting in ("auto", "legacy") and is_a_browsers
    ):
        user = {**user, "ip_address": SEEN}
    return {**event, "user": user, "request": request}


def test_generated_events_of_browsers(collector: Collector, init: Init) -> None:
    init()
    dsn = sentry_sdk.get_client().dsn
    assert dsn is not None
    tunnel = SentryTunnel()
    transport = httpx.WSGITransport(app=tunnel.wsgi, remote_addr=SEEN)
    number = 0

    @settings(max_examples=many(500), deadline=None, database=None)
    @given(event=events, platform=platforms)
    def run(event: Any, platform: Any) -> None:
        nonlocal number
        assume(event.get("type") != "transaction")  # which Relay refuses in an item of this kind
        number += 1
        event_id = f"{number:032x}"
        payload = {**event, "platform": platform, "event_id": event_id}
        as_json = json.dumps(payload, default=datetime.isoformat).encode()
        before = len(collector.envelopes), len(collector.messages)
        started = datetime.now(timezone.utc)
        answer = page.post("/", content=envelope(dsn, ("event", as_json), event_id=event_id))
        assert answer.status_code == 200
        sentry_sdk.flush(10.0)
        [sent] = payloads(collector.envelopes[before[0] :])
        assert_parity(
            [sent],
            collector.messages[before[1] :],
            started,
            _as_relays_server,
        )

    with httpx.Client(
        transport=transport, base_url="http://shop", headers={"User-Agent": AGENT}
    ) as page:
        run()
    tunnel.close()
    addresses = {message["context"].get("ip") for message in collector.messages}
    assert SEEN in addresses
    assert addresses - {SEEN}
