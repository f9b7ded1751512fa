"""What Segment receives is what Sentry's server-side plugin would have sent for the same events.

The reference is made of the very bytes that Sentry was sent: see `plugin`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import sentry_sdk
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps import SHOPS
from collector import Collector
from events import corners, events
from parity import assert_parity, payloads
from support import Init, many

FLUSH_TIMEOUT = 10.0


def test_generated_events(collector: Collector, init: Init) -> None:
    """Whatever the event: what is mirrored, and what not, is what the plugin would have sent."""
    init(
        before_send=lambda event, hint: {**event, **hint["late"]},
        send_default_pii=True,
        auto_enabling_integrations=False,
    )

    # late: fields that are put in by before_send, and so pass by the SDK's own preparations. It
    # has to be that way for exceptions that the SDK itself would choke on.
    @settings(max_examples=many(500), deadline=None, database=None)
    @given(event=events, late=st.sets(st.sampled_from(["user", "request", "tags", "sdk"])))
    def run(event: Any, late: set[str]) -> None:
        before = len(collector.envelopes), len(collector.messages)
        started = datetime.now(timezone.utc)
        late = {name for name in late | {"exception"} if name in event}
        hint = {"late": {name: event.pop(name) for name in late}}
        sentry_sdk.capture_event(event, hint)
        sentry_sdk.flush(FLUSH_TIMEOUT)
        sent = list(payloads(collector.envelopes[before[0] :]))
        assert len(sent) == (event.get("type") != "transaction")
        assert_parity(sent, collector.messages[before[1] :], started)

    for corner in corners():
        run = example(event=corner, late=set())(run)
    run()
    # There were some of both kinds.
    assert len(collector.messages) >= 20
    assert len(collector.events) - len(collector.messages) >= 2


@dataclass(frozen=True)
class Visit:
    """A request to a shop, and the type of the first exception where Segment gets a message."""

    method: str
    path: str
    user: str | None
    mirrored: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0",
    "Referer": "https://shop.example/cart?step=2#total",
}
PROXIED = {"X-Forwarded-For": "203.0.113.7, 10.0.0.1"}
VISITS = [
    Visit("GET", "/crash?article=%C3%A9t%C3%A9&size=&size=38", "jo", "ValueError", BROWSER),
    Visit("GET", "/crash", "42", "ValueError", PROXIED),
    Visit("GET", "/chained?q=a+b%26c&token=secret", "jo", "KeyError", {**BROWSER, **PROXIED}),
    Visit("POST", "/handled?coupon", "0", "ValueError", BROWSER),
    Visit("POST", "/crash?a=1;b=2", "zoe@shop.example", "ValueError"),
    Visit("GET", "/crash?article=1", None, headers=BROWSER),
    Visit("POST", "/chained", None),
    Visit("GET", "/handled", None, headers=PROXIED),
    Visit("GET", "/message?article=1", "jo", headers=BROWSER),
]


@pytest.mark.parametrize("pii", [True, False], ids=["with pii", "without pii"])
@pytest.mark.parametrize("framework", SHOPS)
def test_events_of_applications(
    framework: str, pii: bool, collector: Collector, init: Init
) -> None:
    """What Segment gets of a web application's errors is what the plugin would have sent."""
    init(send_default_pii=pii)
    started = datetime.now(timezone.utc)
    # Each request has a connection of its own: uvicorn closes it once it has answered with a 500.
    limits = httpx.Limits(max_keepalive_connections=0)
    with (
        SHOPS[framework]() as url,
        httpx.Client(base_url=url, limits=limits, trust_env=False) as browser,
    ):
        for visit in VISITS:
            headers = visit.headers | ({} if visit.user is None else {"X-User": visit.user})
            content = b'{"articles": [1, 2]}' if visit.method == "POST" else None
            response = browser.request(visit.method, visit.path, headers=headers, content=content)
            crashes = visit.path.startswith(("/crash", "/chained"))
            assert response.status_code == (500 if crashes else 200)
    sentry_sdk.flush(FLUSH_TIMEOUT)

    events, messages = collector.events, collector.messages
    assert_parity(list(payloads(collector.envelopes)), messages, started)

    assert len(events) == len(VISITS)
    mirrored = [visit for visit in VISITS if visit.mirrored]
    assert [(m["userId"], m["properties"]["exceptionType"]) for m in messages] == [
        (visit.user, visit.mirrored) for visit in mirrored
    ]
    for visit, message in zip(mirrored, messages, strict=True):
        context, page = message["context"], message["context"]["page"]
        path, _, search = visit.path.replace("=secret", "=[Filtered]").partition("?")
        assert (page["method"], page["url"]) == (visit.method, url + path)
        # From ASGI applications the SDK sends it decoded.
        assert page["search"] in (search, unquote(search))
        assert page["referrer"] == visit.headers.get("Referer", "")
        assert context["userAgent"] == visit.headers.get(
            "User-Agent", browser.headers["User-Agent"]
        )
        address = "203.0.113.7" if "X-Forwarded-For" in visit.headers else "127.0.0.1"
        assert context.get("ip") == (address if pii else None)
    if framework == "fastapi":
        assert all("user-agent" in event["request"]["headers"] for event in events)
