"""Delivery to Segment: endpoints, batches, waits, the rate limit. Waits are on virtual time.

What becomes of messages when Segment fails is in test_faults.py.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import sentry_sdk

from collector import Call, Collector, Reply
from faults import arrived, hold, in_turn, pile_up
from sentry_segment import TrackMessage, __version__
from sentry_segment.delivery.worker import Worker
from support import WRITE_KEY, Init, NamelessError, capture
from virtual import VirtualClock, message, worker


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full wait, so that it can be told."""
    monkeypatch.setattr(random, "random", lambda: 1.0)


@pytest.fixture
def started(collector: Collector, clock: VirtualClock) -> Iterator[list[Worker]]:
    """Workers of a test, released after it."""
    workers: list[Worker] = []
    yield workers
    collector.answer = None
    clock.limit = float("inf")
    for each in workers:
        each.finish_flush(each.begin_flush(5.0))
        each.release()


def ids_of(messages: Sequence[TrackMessage]) -> list[str]:
    return [each["messageId"] for each in messages]


def deliver(worker: Worker, *messages: TrackMessage) -> None:
    """Put, and wait until all is settled."""
    for each in messages:
        worker.put(each)
    finish(worker)


def finish(worker: Worker) -> None:
    flush = worker.begin_flush(1_000_000.0)
    if flush is not None:
        assert flush.done.result(30.0)


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


# The waits


def test_backoff_doubles_up_to_a_minute_and_starts_anew_after_a_success(
    collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock))
    collector.answer = in_turn(*[503] * 9)
    started[0].put(message())
    collector.wait_for_messages(1)
    finish(started[0])
    assert clock.waits == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60])
    clock.waits.clear()
    collector.answer = in_turn(503)
    started[0].put(message())
    collector.wait_for_messages(2)
    assert clock.waits == pytest.approx([0.5])


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("1", 1),
        ("120", 120),
        ("300", 300),
        ("301", 300),
        ("99999999999999999999", 300),
        (timedelta(seconds=120), 120),
        (timedelta(days=2), 300),
        # No wait is asked for: the backoff, here of the first failure.
        (timedelta(seconds=-10), 0.5),
        ("0", 0.5),
        ("-5", 0.5),
        ("1.5", 0.5),
        ("soon", 0.5),
        ("", 0.5),
    ],
)
def test_retry_after_holds_everything_for_up_to_five_minutes_where_it_can_be_read(
    status: int,
    header: str | timedelta,
    wait: float,
    collector: Collector,
    clock: VirtualClock,
    started: list[Worker],
) -> None:
    started.append(worker(collector, clock))
    answered_at: list[float] = []

    def answer(call: Call) -> Reply | None:
        answered_at.append(clock.time)
        if len(answered_at) > 1:
            return None
        at = header
        if isinstance(at, timedelta):
            at = format_datetime(datetime.now(timezone.utc) + at, usegmt=True)
        return Reply(status, {"Retry-After": at})

    collector.answer = answer
    started[0].put(message())
    started[0].put(message())
    collector.wait_for_messages(2)
    # A date has whole seconds.
    slack = 2.0 if isinstance(header, timedelta) and wait < 300 else 0.0
    assert wait - slack <= answered_at[1] - answered_at[0] <= wait + 1e-6


def test_new_messages_neither_cut_a_backoff_short_nor_wake_the_thread(
    collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock))
    clock.limit = clock.time + 0.1  # the backoff's wait does not end
    collector.answer = in_turn(503)
    started[0].put(message())
    assert clock.is_held.wait(10.0)
    waits = clock.asked
    for _ in range(100):
        started[0].put(message())
    assert len(collector.calls) == 1
    finish(started[0])
    assert len(collector.messages) == 101
    assert clock.asked <= waits + 1  # the one after the flush


def test_a_flush_cuts_a_backoff_short(
    collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock))
    clock.limit = clock.time + 0.1
    collector.answer = in_turn(503)
    started[0].put(message())
    arrived(collector)
    assert started[0].finish_flush(started[0].begin_flush(60.0))
    assert len(collector.messages) == 1


def test_a_flush_keeps_a_retry_after_and_does_not_wait_for_it(
    collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock))
    clock.limit = clock.time + 0.1
    collector.answer = in_turn(Reply(429, {"Retry-After": "120"}))
    started[0].put(message())
    arrived(collector)
    for _ in range(3):
        flush = started[0].begin_flush(10.0)
        assert flush is not None
        assert flush.done.result(10.0) is False
    assert len(collector.calls) == 1
    # The hold ends: what waits is delivered.
    clock.time += 120
    started[0].begin_flush(10.0)
    collector.wait_for_messages(1)


def test_a_flush_is_not_done_by_a_later_message_that_is_given_up_first(
    collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock))
    go = hold(collector, in_turn(503))
    started[0].put(message())
    arrived(collector)
    started[0].put(message())
    flush = started[0].begin_flush(1_000_000.0)
    assert flush is not None
    unsendable = message()
    unsendable["properties"]["object"] = object()
    started[0].put(unsendable)
    clock.limit = clock.time + 0.1
    go.set()
    assert clock.is_held.wait(10.0)  # after the 503
    assert not flush.done.done()
    finish(started[0])
    assert flush.done.result() is True
    assert len(collector.messages) == 2
    assert started[0].stats().dropped["internal_sdk_error"] == 1


def test_the_rate_limit_makes_requests_wait_and_drops_nothing(
    collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock, rate_limit=(3, 10.0)))
    made_at: list[float] = []

    def note(call: Call) -> None:
        made_at.append(clock.time)

    collector.answer = note
    for _ in range(10):
        deliver(started[0], message())
    assert made_at == pytest.approx([1_000 + 10 * (n // 3) for n in range(10)])
    assert len(collector.messages) == 10


@pytest.mark.parametrize(("limit", "at_once"), [(200, 20), (25, 10)])
def test_requests_are_spread_evenly_but_for_the_first(
    limit: int, at_once: int, collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock, rate_limit=(limit, 1.0)))
    made_at: list[float] = []
    collector.answer = lambda call: made_at.append(clock.time)
    for _ in range(2 * limit):
        deliver(started[0], message())
    waits = [after - before for before, after in pairwise(made_at)]
    between = 1.0 / (limit - at_once)
    spread = [between] * (2 * limit - at_once)
    assert waits == pytest.approx([0.0] * (at_once - 1) + spread, abs=1e-9)
    in_a_stretch = [after - before for before, after in zip(made_at, made_at[limit:], strict=False)]
    assert min(in_a_stretch) >= 1.0 - 1e-9
    clock.time += 1.0 - 2.5 * between  # the last three requests are younger than a second
    del made_at[:]
    for _ in range(at_once - 2):
        deliver(started[0], message())
    assert made_at[0] == made_at[-2] < made_at[-1]


# The snapshot


def test_stats_are_a_snapshot_that_cannot_be_changed(collector: Collector, init: Init) -> None:
    integration = init()
    before = integration.stats
    capture()
    assert integration.flush(10.0)
    after = integration.stats
    assert (before.mirrored, before.delivered, before.queued) == (0, 0, 0)
    assert (after.mirrored, after.delivered, after.queued) == (1, 1, 0)
    assert after.last_error is None
    with pytest.raises(AttributeError):
        after.delivered = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        after.dropped["send_error"] = 5  # type: ignore[index]
    assert set(after.dropped) == {
        "queue_overflow",
        "network_error",
        "send_error",
        "before_track",
        "internal_sdk_error",
    }


def test_hostile_answers_show_up_printable_in_errors(
    collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock))
    collector.answer = in_turn(Reply(422, {}, b"\x1b[31mred\x07\r\n line " + b"x" * 100_000))
    deliver(started[0], message())
    error = started[0].stats().last_error
    assert error is not None
    assert error.startswith("HTTP 422: ?[31mred? line xxx")
    assert error.isprintable()
    assert len(error) <= 200


def test_a_body_of_no_json_use_is_ignored_in_a_success(
    collector: Collector, clock: VirtualClock, started: list[Worker]
) -> None:
    started.append(worker(collector, clock))
    collector.answer = in_turn(Reply(200, {}, gzip.compress(json.dumps([1]).encode())))
    deliver(started[0], message())
    assert started[0].stats().delivered == 1
    assert started[0].stats().last_error is None
