"""A message that Segment fails at each time: it is found, waits aside, and holds up no other."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, count, takewhile
from pathlib import Path
from typing import Any

import pytest

from collector import Call, Collector, Reply
from faults import fault, reset
from sentry_segment import TrackMessage
from sentry_segment.delivery.batches import GIVE_UP_AFTER, SUSPECT_AFTER
from sentry_segment.delivery.worker import Worker
from sentry_segment.wire.verdict import MAX_BACKOFF, MAX_RETRY_AFTER, backoff
from sqlite_spools import adds_up, kept
from support import Init, capture, some
from virtual import VirtualClock, message, worker

FAILS = {"500": Reply(500), "resets": fault(then=reset)}


def failing_at(offenders: Sequence[str], reply: Reply) -> Callable[[Call], Reply | None]:
    """A server that fails at whatever has one of these messages in it."""
    ids = frozenset(offenders)
    return lambda call: None if ids.isdisjoint(call.message_ids) else reply


def ids_of(messages: Sequence[dict[str, Any] | TrackMessage]) -> list[str]:
    return [each["messageId"] for each in messages]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["memory", "spool"])
def start(
    request: pytest.FixtureRequest,
    collector: Collector,
    clock: VirtualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Worker]]:
    """`start(**options)`: a worker on virtual time, with a spool and without."""
    workers: list[Worker] = []

    def no_thread(*_: object) -> None:
        raise RuntimeError("the time of a request is not virtual")

    monkeypatch.setattr("sentry_segment.delivery.sender.in_own_thread", no_thread)
    spool = tmp_path / "spool.db" if request.param == "spool" else None

    def start(**options: Any) -> Worker:
        workers.append(worker(collector, clock, spool=spool, **options))
        return workers[-1]

    yield start
    collector.answer = None
    clock.limit = float("inf")
    for each in workers:
        assert each.finish_flush(each.begin_flush(30.0))
        each.release()
    if spool is not None:
        assert not kept(spool)


def put(worker: Worker, messages: Sequence[TrackMessage]) -> None:
    for each in messages:
        worker.put(each)


@some
@pytest.mark.parametrize("reply", FAILS.values(), ids=FAILS)
@pytest.mark.parametrize("seed", range(3))
def test_3_offenders_among_1000_hold_up_the_others_for_less_than_a_minute(
    reply: Reply,
    seed: int,
    collector: Collector,
    clock: VirtualClock,
    start: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(random, "random", chance.random)
    sent = [message() for _ in range(1_000)]
    offenders = ids_of(chance.sample(sent, 3))
    collector.answer = failing_at(offenders, reply)
    began = clock.time
    at_last: list[float] = []

    def note(side: str, arrived: dict[str, Any]) -> None:
        at_last[:] = [clock.time]

    collector.on_arrival = note
    put(start(), sent)
    delivered = collector.wait_for_messages(997, timeout=60.0)
    assert sorted(ids_of(delivered)) == sorted(set(ids_of(sent)) - set(offenders))
    assert at_last[0] - began < 60.0
    assert len(collector.calls) < 300


def test_the_latest_message_is_not_held_up_by_one_that_waits_aside(
    collector: Collector, clock: VirtualClock, start: Callable[..., Worker]
) -> None:
    running = start()
    offender, *others = (message() for _ in range(30))
    collector.answer = failing_at(ids_of([offender]), Reply(500))
    put(running, [offender])
    assert collector.wait_for(lambda: len(collector.calls) >= SUSPECT_AFTER)
    for n, each in enumerate(others, 1):
        put(running, [each])
        collector.wait_for_messages(n, timeout=30.0)
    assert ids_of(collector.messages) == ids_of(others)
    # Found with the first others, and from then on tried alone.
    together = [call for call in collector.calls if call.status == 500 and len(call.messages) > 1]
    assert len(together) <= 4


def test_who_failed_again_and_again_while_others_were_taken_is_given_up(
    collector: Collector,
    clock: VirtualClock,
    start: Callable[..., Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    given_up: list[tuple[Exception, list[TrackMessage]]] = []
    done = threading.Event()

    def on_error(error: Exception, messages: list[TrackMessage]) -> None:
        given_up.append((error, messages))
        done.set()

    running = start(on_error=on_error)
    offender = message("u-offender")
    collector.answer = failing_at(ids_of([offender]), Reply(500, body=b"no such plan"))
    put(running, [offender])
    others = 0
    while not done.is_set():
        put(running, [message()])
        others += 1
        collector.wait_for_messages(others, timeout=30.0)
        clock.time += MAX_BACKOFF
    [(error, [message_given_up])] = given_up
    assert message_given_up == offender
    assert "HTTP 500: no such plan" in str(error)
    assert others >= GIVE_UP_AFTER
    alone = [call for call in collector.calls if call.message_ids == ids_of([offender])]
    assert len(alone) >= GIVE_UP_AFTER
    counts = [int(call.headers.get("x-retry-count", "0")) for call in alone]
    assert counts == sorted(counts)
    assert running.finish_flush(running.begin_flush(1_000_000.0))
    stats = running.stats()
    assert (stats.dropped["send_error"], stats.delivered) == (1, others)
    assert adds_up(stats)
    [line] = [each for each in caplog.messages if "while it took others" in each]
    assert "HTTP 500: no such plan" in line


@some
@pytest.mark.parametrize("reply", [Reply(500), Reply(503), fault(then=reset)])
def test_in_an_outage_nothing_is_given_up_and_no_more_requests_are_made(
    reply: Reply,
    collector: Collector,
    clock: VirtualClock,
    start: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    failures = 0

    def for_an_hour(call: Call) -> Reply | None:
        nonlocal failures
        if clock.time - began > 3_600.0:
            return None
        failures += 1
        return reply

    collector.answer = for_an_hour
    running = start()
    began = clock.time
    sent = [message() for _ in range(600)]
    put(running, sent)
    delivered = collector.wait_for_messages(600, timeout=60.0)
    assert sorted(ids_of(delivered)) == sorted(ids_of(sent))
    waits = (backoff(failed, lambda: 1.0) for failed in count(1))
    tries = takewhile(lambda seconds: seconds <= 3_600.0, accumulate(waits, initial=0.0))
    assert failures == len(list(tries))
    assert len(collector.calls) <= failures + 3
    stats = running.stats()
    assert sum(stats.dropped.values()) == 0
    assert running.finish_flush(running.begin_flush(30.0))


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_server_that_fails_at_most_requests_gives_nobody_up(
    share: float, collector: Collector, start: Callable[..., Worker]
) -> None:
    chance = random.Random(7)
    collector.answer = lambda call: Reply(500) if chance.random() < share else None
    running = start()
    sent = [message() for _ in range(300)]
    for n in range(0, 300, 10):
        put(running, sent[n : n + 10])
    delivered = collector.wait_for_messages(300, timeout=60.0)
    assert sorted(ids_of(delivered)) == sorted(ids_of(sent))
    assert sum(running.stats().dropped.values()) == 0


def test_an_offender_that_is_taken_in_the_end_is_delivered(
    collector: Collector, start: Callable[..., Worker]
) -> None:
    running = start()
    sent = [message() for _ in range(20)]
    offenders = ids_of(sent[3:5])
    collector.answer = failing_at(offenders, Reply(500))
    put(running, sent)
    collector.wait_for_messages(18, timeout=30.0)
    assert not running.finish_flush(running.begin_flush(0.1))  # they are not settled
    collector.answer = None
    assert running.finish_flush(running.begin_flush(1_000_000.0))
    assert sorted(ids_of(collector.messages)) == sorted(ids_of(sent))


def test_a_retry_after_that_an_offender_brings_about_holds_up_no_other(
    collector: Collector, clock: VirtualClock, start: Callable[..., Worker]
) -> None:
    running = start()
    offender, *others = (message() for _ in range(30))
    collector.answer = failing_at(
        ids_of([offender]), Reply(503, {"Retry-After": f"{MAX_RETRY_AFTER:.0f}"})
    )
    put(running, [offender, *others[:9]])
    collector.wait_for_messages(9, timeout=60.0)
    assert collector.wait_for(lambda: collector.calls[-1].message_ids == ids_of([offender]))
    clock.limit = clock.time + 1.0  # whoever has to wait for longer than that, waits for ever
    for n, each in enumerate(others[9:], 10):
        put(running, [each])
        collector.wait_for_messages(n)
    clock.limit = float("inf")


def test_a_flush_waits_for_no_offender_whose_next_try_comes_after_its_timeout(
    collector: Collector,
    clock: VirtualClock,
    start: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    running = start()
    sent = [message() for _ in range(20)]
    collector.answer = failing_at(ids_of(sent[3:4]), Reply(500))
    clock.limit = clock.time + 1_000.0
    put(running, sent)
    collector.wait_for_messages(19, timeout=30.0)
    assert clock.is_held.wait(30.0)  # by the next wait for the offender, which does not end
    flush = running.begin_flush(5.0)
    assert flush is not None
    assert flush.done.result(30.0) is False
    assert clock.time < flush.deadline


@pytest.mark.parametrize("spooled", [False, True])
def test_one_poisonous_error_holds_up_no_others(
    spooled: bool,
    collector: Collector,
    init: Init,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.01)
    spool = str(tmp_path / "spool.db") if spooled else None
    collector.answer = lambda call: (
        Reply(500) if any(each["userId"] == "poison" for each in call.messages) else None
    )
    integration = init(segment={"spool": spool})
    for user in ("a", "poison", "b", "c", "d"):
        capture(id=user)
    delivered = collector.wait_for_messages(4)
    assert sorted(each["userId"] for each in delivered) == ["a", "b", "c", "d"]
    assert not integration.flush(0.1)
    collector.answer = None
    capture(id="e")
    assert integration.flush(10.0)
    users = {each["userId"] for each in collector.messages}
    assert users == {"a", "b", "c", "d", "e", "poison"}
