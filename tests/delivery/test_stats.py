"""What a snapshot says of the delivery: what waits for how long, what was sent, and when."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from collector import Collector, Reply
from sentry_segment.delivery.ages import Ages
from sqlite_spools import leave, wait_until
from support import Init, capture
from virtual import VirtualClock, message, worker


def test_requests_and_their_bytes_are_counted_as_they_were_sent(
    collector: Collector, init: Init
) -> None:
    segment = init(segment={"gzip": True})
    assert (segment.stats.requests, segment.stats.bytes_sent) == (0, 0)
    answers = [Reply(503), Reply()]
    collector.answer = lambda call: answers.pop(0)
    capture()
    assert segment.flush(10.0)
    sent = [call.raw_size for call in collector.calls]
    assert (segment.stats.requests, segment.stats.retries) == (2, 1)
    assert len(sent) == 2
    assert segment.stats.bytes_sent == sum(sent)


def test_the_time_of_the_latest_delivery_is_told(collector: Collector, init: Init) -> None:
    segment = init()
    none = segment.stats.last_delivery
    assert none is None
    begun = time.time()
    capture()
    assert segment.flush(10.0)
    first = segment.stats.last_delivery
    assert first is not None
    assert begun <= first <= time.time()
    collector.answer = lambda call: Reply(400)
    capture()
    assert segment.flush(10.0)
    assert segment.stats.last_delivery == first


def test_the_oldest_message_is_as_old_as_it_waits(collector: Collector) -> None:
    collector.answer = lambda call: Reply(503)
    clock = VirtualClock()
    clock.limit = clock.time + 100.0
    made = worker(collector, clock)
    assert made.stats().oldest_age == 0.0
    made.put(message("u1"))
    assert clock.is_held.wait(60)
    waits = clock.time - 1_000.0
    assert waits > 0
    assert made.stats().oldest_age == waits
    clock.time += 1_000.0
    assert made.stats().oldest_age == pytest.approx(waits + 1_000.0)
    collector.answer = None
    flush = made.begin_flush(60.0)
    assert made.finish_flush(flush)
    assert made.stats().oldest_age == 0.0
    made.release(None)


def test_what_was_taken_over_is_as_old_as_it_is_here(collector: Collector, tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    leave(path, {"type": "track", "messageId": "1", "userId": "u1"})
    collector.answer = lambda call: Reply(503)
    clock = VirtualClock()
    clock.limit = clock.time + 100.0
    made = worker(collector, clock, spool=str(path))
    made.resume()
    assert clock.is_held.wait(60)
    stats = made.stats()
    assert (stats.recovered, stats.oldest_age) == (1, clock.time - 1_000.0)
    collector.answer = None
    clock.limit = clock.time + 1_000.0
    made.put(message("u2"))  # and so the wait is over
    wait_until(lambda: made.stats().delivered == 2)
    assert made.stats().oldest_age == 0.0
    made.release(None)


# The notes


def noted(*notes: tuple[int, int, float], has_recovered: bool = False) -> Any:
    ages = Ages()
    for accepted, settled, now in notes:
        ages.note(accepted, settled, has_recovered, now)
    return ages


def test_a_message_is_as_old_as_the_first_note_that_counts_it() -> None:
    ages = noted((1, 0, 10.0), (1, 0, 20.0), (3, 0, 30.0))
    assert ages.oldest(35.0) == 25.0
    ages.note(3, 1, False, 40.0)
    assert ages.oldest(45.0) == 15.0
    ages.note(3, 3, False, 50.0)
    assert ages.oldest(50.0) == 0.0
    ages.note(4, 3, False, 60.0)
    assert ages.oldest(61.0) == 1.0


def test_others_messages_count_until_none_is_left() -> None:
    ages = noted((0, 0, 10.0), has_recovered=True)
    ages.note(1, 0, True, 20.0)
    assert ages.oldest(20.0) == 10.0
    ages.note(1, 0, False, 30.0)
    assert ages.oldest(30.0) == 10.0
    ages.note(1, 1, False, 40.0)
    assert ages.oldest(40.0) == 0.0


def test_notes_are_bounded_and_the_oldest_message_stays_as_old() -> None:
    ages = noted(*((number, 0, float(number)) for number in range(1, 100_001)))
    assert ages.oldest(100_000.0) == 99_999.0
    assert len(ages._notes) <= 1000
    ages.note(100_000, 50_000, False, 100_000.0)
    assert 45_000 < ages.oldest(100_000.0) <= 50_000
