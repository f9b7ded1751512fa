"""A process that forks, with a spool: parent and child each use it for their own."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from collector import Call, Collector, Reply
from faults import arrived, hold
from scripts import names, run, run_with_children, start
from sqlite_spools import (
    FILES,
    adds_up,
    begins_at_init,
    is_sound,
    kept,
    leave,
    let_leases_lapse,
    open_files,
    outage,
    query,
    track,
    wait_until,
)
from support import Init, capture, many, some

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
forks_with_threads = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@posix
def test_parent_and_child_both_use_the_spool_each_for_its_own(
    collector: Collector, path: Path
) -> None:
    go = hold(collector)
    script = start(
        collector,
        """
        integration = init()
        for n in range(5):
            capture(f"before{n}")
        wait_until(lambda: integration.stats.spooled == 5)
        told()
        child = os.fork()
        who = "parent" if child else "child"
        for n in range(5):
            capture(f"{who}{n}")
        if not child:
            assert integration.flush(20.0)
            stats = integration.stats
            assert (stats.mirrored, stats.delivered, stats.recovered) == (5, 5, 0), stats
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print("child is done", flush=True)
        assert integration.flush(20.0)
        assert integration.stats.delivered == 10, integration.stats
        """,
        spool=path,
    )
    arrived(collector)
    script.tell()
    assert script.line() == "child is done"
    assert [each for each in names(collector) if not each.startswith("before")] == [
        f"child{n}" for n in range(5)
    ]
    go.set()
    ended = script.end()
    assert ended.status == 0, ended.err
    assert "spool" not in ended.err
    expected = [f"{who}{n}" for who in ("before", "parent", "child") for n in range(5)]
    assert sorted(names(collector)) == sorted(expected)
    assert is_sound(path)
    assert kept(path) == []


@posix
@forks_with_threads
@pytest.mark.skipif(not FILES.exists(), reason="this system does not tell which files are open")
def test_no_connection_is_open_across_a_fork(collector: Collector, init: Init, path: Path) -> None:
    init(segment={"spool": path})
    capture()
    collector.wait_for_messages(1)
    assert open_files(path)
    child = os.fork()
    if not child:
        os._exit(1 if open_files(path) else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@posix
def test_a_child_that_is_killed_leaves_its_messages_to_its_parent(
    collector: Collector, path: Path
) -> None:
    outage(collector)
    script = start(
        collector,
        """
        import sentry_segment.delivery.spooled
        sentry_segment.delivery.spooled._TEND_INTERVAL = 0.01
        integration = init()
        capture("parent")
        child = os.fork()
        if not child:
            for n in range(3):
                capture(f"child{n}")
            wait_until(lambda: integration.stats.spooled == 3)
            os.kill(os.getpid(), signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        print("killed", flush=True)
        wait_until(lambda: integration.stats.recovered == 3)
        assert integration.stats.mirrored == 1
        print("recovered", flush=True)
        told()
        assert integration.flush(20.0)  # and so there is no wait any more
        wait_until(lambda: integration.stats.delivered == 4)
        """,
        spool=path,
    )
    assert script.line() == "killed"
    let_leases_lapse(path)
    assert script.line() == "recovered"
    collector.answer = None
    script.tell()
    ended = script.end()
    assert ended.status == 0, ended.err
    assert sorted(names(collector)) == ["child0", "child1", "child2", "parent"]


@pytest.mark.skipif(not begins_at_init, reason="an older SDK does not begin at init")
def test_a_process_that_lives_for_a_moment_sends_what_was_left_before_it_ends(
    collector: Collector, path: Path
) -> None:
    """As a job that is run every minute does: once, and not again each time."""
    leave(path, track("left"))
    asked = threading.Event()

    def slow(call: Call) -> Reply | None:
        asked.wait(0.3)  # for nothing: time in which a process could end
        return None

    collector.answer = slow
    for _ in range(2):
        ended = run(collector, "init()", spool=path)
        assert (ended.status, ended.err) == (0, "")
    assert len(collector.messages) == 1
    assert not kept(path)


FORKS = many(100)  # an even number


@posix
@forks_with_threads
def test_forks_while_threads_capture_into_the_spool(
    collector: Collector, init: Init, path: Path
) -> None:
    """Nothing is lost, sent twice or damaged; no child hangs."""
    integration = init(segment={"spool": path})
    capture(id="first")
    envelope = sentry_sdk.envelope.Envelope()
    envelope.add_event({"exception": {"values": [{"type": "E"}]}, "user": {"id": "u1"}})  # type: ignore[typeddict-item, unused-ignore]
    stop = threading.Event()

    def put() -> None:
        while not stop.is_set():
            integration._mirror.mirror(envelope)
            integration.flush(0.01)

    threads = [threading.Thread(target=put) for _ in range(2)]
    for thread in threads:
        thread.start()
    statuses = []
    try:
        for number in range(FORKS):
            child = os.fork()
            if not child:
                status = 1
                try:
                    signal.alarm(120)
                    event: Any = envelope.items[0].payload.json
                    event["user"]["id"] = f"child {number}"
                    integration._mirror.mirror(envelope)
                    # Every other one is killed as soon as its message is in the spool.
                    wait_until(lambda: not integration.stats.queued)
                    if number % 2:
                        os.kill(os.getpid(), signal.SIGKILL)
                    status = 0 if integration.flush(60.0) else 2
                finally:
                    os._exit(status)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert statuses == [0, -signal.SIGKILL] * (FORKS // 2)
    assert integration.flush(60.0)
    assert is_sound(path)
    # By those that were killed. Read first: where this takes longer than a lease, the parent and
    # the later children take it over, and are at it now.
    left = Counter(each["userId"] for each in kept(path))
    sent = Counter(each["userId"] for each in collector.messages)
    for number in range(FORKS):
        user = f"child {number}"
        if number % 2 == 0:
            assert (sent[user], left[user]) == (1, 0)
        else:
            # One killed between the answer and the deletion has both.
            assert sent[user] + left[user] >= 1
    stats = integration.stats
    assert sent["first"] + sent["u1"] == stats.mirrored
    assert stats.mirrored <= stats.delivered <= stats.mirrored + stats.recovered
    assert adds_up(stats)


@some
@posix
@pytest.mark.parametrize(
    ("method", "answered"),
    [("fork", True), ("fork", False), ("spawn", False)],
    ids=["fork", "fork in an outage", "spawn in an outage"],
)
def test_children_of_multiprocessing_deliver_or_leave_what_they_captured(
    method: str, answered: bool, collector: Collector, path: Path
) -> None:
    if not answered:
        outage(collector)
    timeout = 60.0 if answered else 0.5
    ended = run_with_children(collector, method, path.parent, timeout, spool=path)
    assert ended.status == 0, ended.err
    assert "could not be delivered" not in ended.err
    expected = ["child0", "child1", "parent"]
    left = [message["properties"]["exceptionType"] for message in kept(path)]
    assert (sorted(names(collector)), sorted(left)) == (
        (expected, []) if answered else ([], expected)
    )
    assert query(path, "SELECT holder FROM writers WHERE holder IS NOT NULL") == []
