"""APScheduler's jobs, in the threads of a process that goes on until it is told to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import Collector, Reply
from sqlite_spools import kept, let_leases_lapse
from stacks.arrivals import mirrored, texts_of, wait_for_events
from stacks.orders import ORDERS, USERS, errors_of
from stacks.processes import Process, Stack, stack


@pytest.fixture
def machine(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with stack(collector, tmp_path) as running:
        yield running


def shop(machine: Stack, *orders: str, **environment: str) -> Process:
    return machine.start("-m", "apscheduler_jobs.shop", *orders, **environment)


def test_each_error_of_a_known_user_arrives_once_and_the_end_waits_for_segment(
    machine: Stack, collector: Collector
) -> None:
    go = threading.Event()
    collector.answer = lambda call: Reply(delay=go)
    running = shop(machine, *ORDERS)
    wait_for_events(collector, 6)
    running.signal(signal.SIGTERM)
    threading.Timer(0.5, go.set).start()
    assert running.end() == 0, running.output
    assert mirrored(collector) == errors_of(USERS, "remind")
    assert set(texts_of(collector.events).values()) == {1}  # the visitors' are Sentry's alone
    assert running.output.count(" for 8\n") == 3


def test_with_a_spool_the_next_process_delivers_what_a_killed_one_left(
    machine: Stack, collector: Collector, tmp_path: Path
) -> None:
    spool = tmp_path / "spool.db"
    collector.answer = lambda call: Reply(429, {"Retry-After": "300"})
    first = shop(machine, "7=unicorn-7", SEGMENT_SPOOL=str(spool))
    assert collector.wait_for(lambda: [call.status for call in collector.calls] == [429])
    assert len(kept(spool)) == 1
    first.kill_all()
    collector.answer = None
    let_leases_lapse(spool)
    second = shop(machine, "8=unicorn-8", SEGMENT_SPOOL=str(spool))
    collector.wait_for_messages(2)
    second.signal(signal.SIGTERM)
    assert second.end() == 0, second.output
    assert mirrored(collector) == errors_of(["7", "8"], "remind")
    assert kept(spool) == []
