"""Waits between requests, the rate limit, and the snapshot of it all. They are on virtual time."""

from __future__ import annotations

import gzip
import json
import random
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import pairwise

import pytest

from collector import Call, Collector, Reply
from deliveries import deliver, finish
from faults import arrived, hold, in_turn
from sentry_segment.delivery.worker import Worker
from support import Init, capture
from virtual import VirtualClock, message, worker


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full wait, so that it can be told."""
    monkeypatch.setattr(random, "random", lambda: 1.0)


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
