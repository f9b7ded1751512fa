"""An authorization server with a problem: messages wait for a token, and nobody waits too long."""

from __future__ import annotations

import pytest

from collector import Collector, Reply
from faults import fault, in_turn, reset, silent
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions
from support import Init, capture, some
from token_server import TokenServer
from virtual import VirtualClock, message, options, worker

LONG = 60.0


def garbage(body: bytes) -> Reply:
    return Reply(body=body)


FAULTS: dict[str, tuple[Reply | int, str]] = {
    "400": (400, "HTTP 400"),
    "401": (401, "HTTP 401"),
    "404": (404, "HTTP 404"),
    "429": (429, "HTTP 429"),
    "500": (500, "HTTP 500"),
    "501": (501, "HTTP 501"),
    "redirect": (Reply(302, {"Location": "https://elsewhere.example"}), "HTTP 302"),
    "reset": (fault(then=reset), "Error"),
    "no HTTP": (fault(b"hello\r\n\r\n"), "Error"),
    "no JSON": (garbage(b"<html>"), "is no JSON object"),
    "deep JSON": (garbage(b"[" * 60_000), "is no JSON object"),
    "a list": (garbage(b"[]"), "is no JSON object"),
    "no token": (garbage(b'{"expires_in": 5}'), "has no access_token"),
    "a number": (garbage(b'{"access_token": 5}'), "has no access_token"),
    "two lines": (garbage(b'{"access_token": "a\\r\\nX: y"}'), "has no access_token"),
    "empty": (garbage(b'{"access_token": ""}'), "has no access_token"),
    "life: text": (garbage(b'{"access_token": "a", "expires_in": "soon"}'), "expires_in"),
    "life: list": (garbage(b'{"access_token": "a", "expires_in": []}'), "expires_in"),
    "life: true": (garbage(b'{"access_token": "a", "expires_in": true}'), "expires_in"),
    "life: 0": (garbage(b'{"access_token": "a", "expires_in": 0}'), "expires_in"),
    "life: NaN": (garbage(b'{"access_token": "a", "expires_in": NaN}'), "expires_in"),
    "life: huge": (garbage(b'{"access_token": "a", "expires_in": %s}' % (b"9" * 400)), "expires"),
    "very long": (garbage(b" " * 100_000), "has no end, or is very long"),
    "cut off": (
        fault(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"access_token": "a"}'),
        "has no end",
    ),
}


@some
@pytest.mark.parametrize("name", FAULTS)
def test_messages_wait_for_a_token_whatever_the_server_does(
    segment: Collector, tokens: TokenServer, init: Init, name: str
) -> None:
    answer, said = FAULTS[name]
    tokens.instead = lambda call: answer
    integration = init(segment={"host": segment.url, **tokens.client})
    capture()
    assert tokens.wait_for(lambda: bool(tokens.calls))
    assert not integration.flush(0.05)
    assert integration.stats.queued == 1
    tokens.instead = None
    assert integration.flush(LONG)
    assert integration.stats.delivered == 1
    error = integration.stats.last_error
    assert error is not None
    assert error.startswith(f"no OAuth token from {tokens.url}: ")
    assert said in error
    assert not any(integration.stats.dropped.values())


def test_a_flush_is_back_in_time_where_the_server_says_nothing(
    segment: Collector, tokens: TokenServer, init: Init
) -> None:
    tokens.instead = lambda call: fault(then=silent)
    integration = init(segment={"host": segment.url, "timeout": 1.0, **tokens.client})
    capture()
    assert not integration.flush(0.2)
    assert tokens.wait_for(lambda: len(tokens.calls) > 1)  # and so the first was given up
    assert segment.calls == []
    tokens.instead = None
    assert integration.flush(LONG)
    assert "ReadTimeout" in str(integration.stats.last_error)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"X-RateLimit-Reset": "9"}, 9.0),
        ({"X-RateLimit-Reset": "99999999"}, 300.0),
        ({"Retry-After": "7", "X-RateLimit-Reset": "9"}, 7.0),
    ],
)
def test_the_server_is_asked_again_when_it_said(
    segment: Collector, tokens: TokenServer, headers: dict[str, str], wait: float
) -> None:
    tokens.instead = in_turn(Reply(429, headers))
    clock = VirtualClock()
    made = worker(segment, clock, **tokens.client)
    made.put(message())
    segment.wait_for_messages(1)
    made.release()
    assert wait in [pytest.approx(each) for each in clock.waits]
    assert len(tokens.calls) == 2


@pytest.mark.parametrize("header", ["soon", "0", "-5", "", None])
def test_without_a_usable_wait_our_own_holds(
    segment: Collector, tokens: TokenServer, header: str | None
) -> None:
    headers = {} if header is None else {"X-RateLimit-Reset": header}
    tokens.instead = in_turn(Reply(429, headers))
    api = SegmentApi(options(segment, **tokens.client), NetworkOptions())
    verdict = api.send([b'{"type":"track"}'], 0, LONG)
    assert verdict.retry_after is None
    assert verdict.outcome.value == "retry"
    assert not verdict.is_suspicious
    api.close()


def test_without_a_clock_to_go_by_a_refusal_is_not_repeated_at_once(
    segment: Collector, tokens: TokenServer
) -> None:
    tokens.instead = lambda call: Reply(401, {"Date": "yesterday"})
    api = SegmentApi(options(segment, **tokens.client), NetworkOptions())
    assert api.send([b"{}"], 0, LONG).outcome.value == "retry"
    assert len(tokens.calls) == 1
    api.close()
