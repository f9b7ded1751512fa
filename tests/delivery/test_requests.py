"""Delivery to Segment: endpoints, batches, and what is given up. Waits are on virtual time.

What becomes of messages when Segment fails is in test_faults.py.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any

import pytest
import sentry_sdk

from collector import Collector
from deliveries import deliver, finish
from faults import arrived, in_turn, pile_up
from sentry_segment import TrackMessage, __version__
from sentry_segment.delivery.worker import Worker
from support import WRITE_KEY, Init, NamelessError, capture
from virtual import VirtualClock, message, worker


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full wait, so that it can be told."""
    monkeypatch.setattr(random, "random", lambda: 1.0)


def ids_of(messages: Sequence[TrackMessage]) -> list[str]:
    return [each["messageId"] for each in messages]


# The requests


def test_one_message_goes_to_track_as_the_plugin_sends_it(collector: Collector, init: Init) -> None:
    init()
    event_id = capture()
    collector.wait_for_messages(1)
    [call] = collector.calls
    assert call.path == "/v1/track"
    assert call.write_key == WRITE_KEY
    assert call.json["messageId"] == event_id
    assert call.headers["content-type"] == "application/json"
    assert call.headers["user-agent"] == f"sentry-segment/{__version__}"
    assert "x-retry-count" not in call.headers


def test_what_piled_up_goes_to_batch_in_order(collector: Collector, init: Init) -> None:
    integration = init()
    event_ids: list[str] = []
    pile_up(collector, *[lambda: event_ids.append(capture())] * 50)
    assert integration.flush(10.0)
    assert [call.path for call in collector.calls] == ["/v1/track", "/v1/batch"]
    assert [each for call in collector.calls for each in call.message_ids] == event_ids
    assert collector.calls[1].write_key == WRITE_KEY


def test_the_write_key_is_in_no_body(collector: Collector, init: Init) -> None:
    integration = init()
    pile_up(collector, capture, capture, capture)
    integration.flush(10.0)
    assert len(collector.calls) == 2
    assert not [call for call in collector.calls if WRITE_KEY.encode() in call.body]


def test_every_request_says_when_it_was_sent(collector: Collector, init: Init) -> None:
    integration = init()
    before = datetime.now(timezone.utc)
    pile_up(collector, capture, capture, capture)
    integration.flush(10.0)
    for call in collector.calls:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", call.json["sentAt"])
        sent_at = datetime.fromisoformat(call.json["sentAt"].replace("Z", "+00:00"))
        assert abs((sent_at - before).total_seconds()) < 60


def test_gzip_compresses_the_bodies(collector: Collector, init: Init) -> None:
    integration = init(segment={"gzip": True})
    pile_up(collector, *[capture] * 20)
    integration.flush(10.0)
    assert [call.headers["content-encoding"] for call in collector.calls] == ["gzip", "gzip"]
    assert collector.calls[1].raw_size < len(collector.calls[1].body) / 2
    assert len(collector.messages) == 20


def test_without_gzip_the_bodies_are_plain(collector: Collector, init: Init) -> None:
    init()
    capture()
    collector.wait_for_messages(1)
    assert "content-encoding" not in collector.calls[0].headers
    assert collector.calls[0].raw_size == len(collector.calls[0].body)


def test_a_host_may_have_a_path(collector: Collector, init: Init) -> None:
    init(segment={"host": collector.url + "/data-plane/v1/"})
    capture()
    arrived(collector)
    assert collector.calls[0].path == "/data-plane/v1/track"


@pytest.mark.parametrize("timeout", [1e10, 1e300])
def test_a_timeout_may_be_beyond_all_that_a_socket_takes(
    timeout: float, collector: Collector, init: Init
) -> None:
    integration = init(segment={"timeout": timeout})
    capture()
    assert integration.flush(10.0)
    assert len(collector.messages) == 1


def test_the_event_name_is_an_option(collector: Collector, init: Init) -> None:
    init(segment={"event_name": "Fehler"})
    capture()
    [sent] = collector.wait_for_messages(1)
    assert sent["event"] == "Fehler"


def test_a_long_message_is_cut_and_arrives(collector: Collector, init: Init) -> None:
    init(max_value_length=100_000)
    with sentry_sdk.new_scope() as scope:
        scope.set_transaction_name("t" * 60_000)
        capture()
    [sent] = collector.wait_for_messages(1)
    assert len(sent["properties"]["transaction"]) > 30_000
    assert collector.calls[0].raw_size <= 32_100


def test_batches_stay_within_their_limits(
    collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock))
    messages = [message() for _ in range(6_000)]
    pile_up(collector, *[partial(started[0].put, each) for each in messages])
    finish(started[0])
    batches = [call for call in collector.calls if call.path == "/v1/batch"]
    assert max(call.raw_size for call in batches) <= 500_000
    assert max(len(call.message_ids) for call in batches) <= 2_500
    sent = [each for call in collector.calls for each in call.message_ids]
    assert sent == ids_of(messages)


# What is given up


@pytest.mark.parametrize(
    "kind", [RuntimeError, SystemExit, NamelessError], ids=["Exception", "SystemExit", "nameless"]
)
def test_an_exception_in_on_error_is_harmless(
    kind: type[BaseException],
    collector: Collector,
    clock: VirtualClock,
    started: list[Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def on_error(error: Exception, messages: list[TrackMessage]) -> None:
        raise kind("a fault in the hook")

    started.append(worker(collector, clock, on_error=on_error))
    collector.answer = in_turn(422)
    deliver(started[0], message())
    deliver(started[0], message())
    assert len(collector.messages) == 1
    named = "an error" if kind is NamelessError else f"{kind.__name__}: a fault in the hook"
    assert f"on_error raised {named}" in caplog.text


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_write_key_is_one_clear_line_and_later_messages_are_tried(
    status: int,
    collector: Collector,
    clock: VirtualClock,
    started: list[Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    started.append(worker(collector, clock))
    collector.answer = in_turn(status, status)
    for _ in range(3):
        deliver(started[0], message())
    [record] = caplog.records
    text = record.getMessage()
    assert "refused the write key …cdef" in text
    assert "Settings > API Keys" in text
    assert WRITE_KEY not in text
    assert len(collector.messages) == 1


class Raising(dict[str, Any]):
    """A part of a message that raises whatever it is told, when somebody looks into it."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__(key="value")
        self.error = error

    def items(self) -> Any:
        raise self.error


class Empty(dict[str, Any]):
    def __bool__(self) -> bool:
        return True


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda message: {**message, "properties": {"object": object()}},
        lambda message: {**message, "properties": Raising(SystemExit)},
        lambda message: {**message, "properties": Raising(NamelessError)},
        lambda message: Empty(),
    ],
    ids=["object", "SystemExit", "NamelessError", "empty"],
)
def test_a_message_without_a_json_form_is_lost_alone(
    spoilt: Any, collector: Collector, init: Init, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(message: TrackMessage, event: Any) -> TrackMessage:
        made: TrackMessage = spoilt(message) if event["user"]["id"] == "spoil" else message
        return made

    given_up: list[TrackMessage] = []
    integration = init(
        segment={
            "before_track": spoil,
            "on_error": lambda error, messages: given_up.extend(messages),
        }
    )
    pile_up(collector, *[partial(capture, id=user) for user in ("u1", "u2", "spoil", "u3")])
    assert integration.flush(10.0)
    assert [each["userId"] for each in collector.messages] == ["u1", "u2", "u3"]
    assert [each.get("userId", "spoil") for each in given_up] == ["spoil"]
    assert integration.stats.dropped["internal_sdk_error"] == 1
    assert "A message can't be sent and was dropped" in caplog.text


def test_an_outage_of_any_length_loses_nothing(
    collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock))
    collector.answer = in_turn(*[503] * 200)
    sent = [message() for _ in range(100)]
    for each in sent:
        started[0].put(each)
    collector.wait_for_messages(100, timeout=30.0)
    finish(started[0])
    assert [each["messageId"] for each in collector.messages] == [
        each["messageId"] for each in sent
    ]
    assert sum(clock.waits) > 3 * 60 * 60
