"""OAuth 2.0, against an authorization server that checks what it is sent."""

from __future__ import annotations

import json
import logging
import pickle
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from collector import Call, Collector, Reply
from faults import in_turn
from proxy import Proxy
from sentry_segment import SegmentIntegration
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions
from support import WRITE_KEY, Init, capture
from token_server import CLIENT_ID, TokenServer, key_pair
from virtual import options

LONG = 60.0


def deliver(integration: SegmentIntegration, user_id: str = "u1") -> None:
    capture(user={"id": user_id})
    assert integration.flush(LONG)


def bearer(collector: Collector) -> list[str]:
    """The tokens of the requests to Segment, in order."""
    return [call.headers["authorization"].removeprefix("Bearer ") for call in collector.calls]


# The token in use


@pytest.mark.parametrize("gzip", [False, True])
def test_a_token_takes_the_place_of_basic_auth_and_the_write_key_is_in_the_body(
    segment: Collector, tokens: TokenServer, init: Init, gzip: bool
) -> None:
    integration = init(segment={"host": segment.url, "gzip": gzip, **tokens.client})
    deliver(integration)
    assert tokens.errors == []
    [call] = segment.calls
    assert tokens.knows(call)
    assert call.path == "/v1/track"
    assert call.json["writeKey"] == WRITE_KEY
    assert call.json["userId"] == "u1"


def test_a_batch_names_the_write_key_once(
    segment: Collector, tokens: TokenServer, init: Init
) -> None:
    hold = threading.Event()
    tokens.instead = lambda call: Reply(500, delay=hold)
    integration = init(segment={"host": segment.url, **tokens.client})
    capture()
    assert tokens.wait_for(lambda: bool(tokens.assertions))
    capture(user={"id": "u2"})
    capture(user={"id": "u3"})
    tokens.instead = None
    hold.set()
    assert integration.flush(LONG)
    assert [each["userId"] for each in segment.messages] == ["u1", "u2", "u3"]
    batch = next(call for call in segment.calls if call.path == "/v1/batch")
    assert batch.json["writeKey"] == WRITE_KEY
    assert not any("writeKey" in each for each in batch.json["batch"])


def test_without_oauth_the_write_key_is_not_in_the_body(segment: Collector, init: Init) -> None:
    deliver(init(segment={"host": segment.url}))
    [call] = segment.calls
    assert WRITE_KEY not in call.body.decode()
    assert call.write_key == WRITE_KEY


def test_one_token_serves_until_half_of_its_life_is_over(
    segment: Collector, tokens: TokenServer, init: Init, later: Callable[[float], None]
) -> None:
    tokens.life = 3600
    integration = init(segment={"host": segment.url, **tokens.client})
    deliver(integration)
    later(1_700.0)
    deliver(integration)
    later(200.0)
    deliver(integration)
    first, second = tokens.issued
    assert bearer(segment) == [first, first, second]
    assert tokens.errors == []  # so no assertion came twice


def test_a_token_that_can_not_be_renewed_serves_until_it_lapses(
    segment: Collector, tokens: TokenServer, init: Init, later: Callable[[float], None]
) -> None:
    integration = init(segment={"host": segment.url, **tokens.client})
    deliver(integration)
    tokens.instead = lambda call: 503
    later(2_000.0)
    deliver(integration)
    deliver(integration)  # and the server is not asked again at once
    assert bearer(segment) == tokens.issued * 3
    assert len(tokens.calls) == 2
    later(2_000.0)
    capture()
    assert tokens.wait_for(lambda: len(tokens.calls) > 2)
    assert integration.stats.queued == 1
    tokens.instead = None
    assert integration.flush(LONG)
    assert bearer(segment)[-1] == tokens.issued[-1] != tokens.issued[0]


@pytest.mark.parametrize("life", ["1800", None])
def test_a_life_may_be_a_text_or_untold(
    segment: Collector,
    tokens: TokenServer,
    init: Init,
    later: Callable[[float], None],
    life: str | None,
) -> None:
    answer = {"access_token": "abc", "expires_in": life}
    body = json.dumps({name: value for name, value in answer.items() if value}).encode()
    tokens.instead = lambda call: Reply(body=body)
    integration = init(segment={"host": segment.url, **tokens.client})
    deliver(integration)
    later(29.0)
    deliver(integration)
    assert len(tokens.calls) == 1
    later(2.0 if life is None else 900.0)
    deliver(integration)
    assert len(tokens.calls) == 2


# A token that Segment refuses


@pytest.mark.parametrize("status", [401, 403, 511])
def test_a_refused_token_is_replaced_once_and_the_message_sent_at_once(
    segment: Collector, tokens: TokenServer, init: Init, status: int
) -> None:
    segment.answer = in_turn(status)
    integration = init(segment={"host": segment.url, **tokens.client})
    deliver(integration)
    assert bearer(segment) == tokens.issued
    assert len(tokens.issued) == 2
    assert integration.stats.delivered == 1
    assert integration.stats.retries == 0


@pytest.mark.parametrize("status", [401, 403])
def test_a_second_refusal_is_final(
    segment: Collector,
    tokens: TokenServer,
    init: Init,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    told: list[Any] = []
    segment.answer = lambda call: Reply(status)
    given = {"on_error": lambda error, messages: told.append((error.status, len(messages)))}
    integration = init(segment={"host": segment.url, **given, **tokens.client})
    deliver(integration)
    assert told == [(status, 1)]
    assert len(segment.calls) == len(tokens.issued) == 2
    assert "refused a new OAuth token" in caplog.text


def test_511_with_a_new_token_is_tried_again(
    segment: Collector, tokens: TokenServer, init: Init
) -> None:
    segment.answer = in_turn(511, 511)
    integration = init(segment={"host": segment.url, **tokens.client})
    deliver(integration)
    assert integration.stats.delivered == 1
    assert integration.stats.retries == 1


def test_an_old_token_may_be_to_blame_for_a_400_and_a_young_one_not(
    segment: Collector, tokens: TokenServer, init: Init, later: Callable[[float], None]
) -> None:
    integration = init(segment={"host": segment.url, **tokens.client})
    segment.answer = in_turn(400)
    deliver(integration)
    assert integration.stats.dropped["send_error"] == 1
    later(100.0)
    segment.answer = in_turn(400)
    deliver(integration)
    assert integration.stats.delivered == 1
    assert len(tokens.issued) == 2


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_clock_that_is_off_is_corrected_by_the_servers(
    segment: Collector, tokens: TokenServer, init: Init, ahead: float
) -> None:
    tokens.ahead = ahead
    tokens.life = 0.001  # each request needs another
    integration = init(segment={"host": segment.url, **tokens.client})
    deliver(integration)
    assert len(tokens.errors) == 1
    deliver(integration)
    assert len(tokens.errors) == 1
    assert integration.stats.retries == 0


# Processes, threads, the network


def test_a_capture_does_not_wait_for_a_token(
    segment: Collector, tokens: TokenServer, init: Init
) -> None:
    hold = threading.Event()
    tokens.instead = lambda call: Reply(500, delay=hold)
    integration = init(segment={"host": segment.url, **tokens.client})
    capture()  # would never end
    assert tokens.wait_for(lambda: bool(tokens.assertions))
    tokens.instead = None
    hold.set()
    assert integration.flush(LONG)


def test_a_pickled_integration_gets_tokens_of_its_own(
    segment: Collector, tokens: TokenServer, init: Init
) -> None:
    copy = pickle.loads(pickle.dumps(SegmentIntegration(WRITE_KEY, **tokens.client)))
    assert key_pair()[0] not in repr(copy)
    assert copy._options.oauth_client_key == key_pair()[0].strip()


def test_a_forked_copy_uses_the_token_and_no_connection_of_its_parent(
    segment: Collector, tokens: TokenServer
) -> None:
    api = SegmentApi(options(segment, **tokens.client), NetworkOptions())
    body = b'{"type":"track","userId":"u1"}'
    assert api.send([body], 0, LONG).status == 200
    api.forget_connection()
    assert api.send([body], 0, LONG).status == 200
    assert bearer(segment) == tokens.issued * 2
    api.close()


def test_a_token_is_asked_for_by_the_same_way_as_segment(
    segment: Collector, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`NO_PROXY` is looked at for each of the two by itself."""
    with Proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        api = SegmentApi(options(segment, **tokens.client), NetworkOptions())
        assert api.send([b'{"type":"track"}'], 0, LONG).status == 200
        assert proxy.asked_for(f"{tokens.url}/token")
        assert proxy.asked_for(f"{segment.url}/v1/track")
        api.close()
        proxy.requests.clear()
        monkeypatch.setenv("no_proxy", f"127.0.0.1:{tokens.port}")
        api = SegmentApi(options(segment, **tokens.client), NetworkOptions())
        assert api.send([b'{"type":"track"}'], 0, LONG).status == 200
        assert not proxy.asked_for(f"{tokens.url}/token")
        assert proxy.asked_for(f"{segment.url}/v1/track")
        api.close()


# Secrets


def test_key_assertion_and_token_show_up_nowhere(
    segment: Collector,
    tokens: TokenServer,
    init: Init,
    caplog: pytest.LogCaptureFixture,
    collector: Collector,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []

    def on_error(error: Exception, messages: list[Any]) -> None:
        told.append(f"{error!r} {error} {messages}")

    def echo(call: Call) -> Reply:
        return Reply(403, body=f"what is {call.headers['authorization']}?".encode())

    def echo_assertion(call: Call) -> Reply | None:
        return Reply(400, body=call.body) if len(tokens.calls) == 0 else None

    tokens.instead = echo_assertion
    segment.answer = echo
    given = {"host": segment.url, "on_error": on_error, "spool": tmp_path / "spool.db"}
    integration = init(segment={**given, **tokens.client})
    seen = []
    capture()
    assert tokens.wait_for(lambda: bool(tokens.calls))
    integration.flush(0.0)
    seen.append(str(integration.stats))
    seen += [file.read_bytes().decode("latin-1") for file in tmp_path.iterdir()]
    assert integration.flush(LONG)
    assert len(told) == 1
    capture(user={"id": "after"})
    sentry_sdk.flush()
    seen += [str(integration.stats), repr(integration), repr(integration._options), caplog.text]
    seen += [*told, *(envelope.decode("utf-8", "replace") for envelope in collector.envelopes)]
    assert len(tokens.issued) >= 2
    everything = "\n".join(seen)
    assert "HTTP 403" in everything
    assert "Error Captured" in everything  # in the spool
    key_lines = key_pair()[0].splitlines()[1:-1]
    assert all(line in key_pair()[0] for line in key_lines)
    for secret in [*tokens.issued, *tokens.assertions, *key_lines, WRITE_KEY]:
        assert secret
        assert secret not in everything


def test_no_error_at_construction_holds_the_key() -> None:
    """Not in the variables of its frames, which Sentry shows."""
    given = {"oauth_client_id": CLIENT_ID, "oauth_client_key": key_pair()[0]}
    with pytest.raises(ValueError, match=r"^oauth_key_id: ") as raised:
        SegmentIntegration(WRITE_KEY, **given)  # type: ignore[arg-type]
    frames = [frame for frame, _ in traceback.walk_tb(raised.value.__traceback__)]
    ours = [f.f_locals for f in frames if f.f_globals["__name__"].startswith("sentry_segment")]
    assert ours
    values = [value for variables in ours for value in variables.values()]
    assert not any("BEGIN" in value for value in values if isinstance(value, str))


# Options


def test_without_the_extra_construction_fails_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tokens: TokenServer
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ImportError, match=r'pip install "sentry-segment\[oauth\]"'):
        SegmentIntegration(WRITE_KEY, **tokens.client)
    SegmentIntegration("", **tokens.client)  # sends nothing, and needs nothing


def test_a_token_server_over_plain_http_is_warned_of(
    caplog: pytest.LogCaptureFixture, tokens: TokenServer
) -> None:
    given = {**tokens.client, "oauth_auth_server": "http://auth.example"}
    SegmentIntegration(WRITE_KEY, **given)
    assert "oauth_auth_server is http://auth.example" in caplog.text
