"""The spool between processes: ends, kills, forks, and many at once on one file."""

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
from support import Init, capture, many

SPOOLS_5 = """
    integration = init()
    for n in range(5):
        capture(f"E{n}")
    wait_until(lambda: integration.stats.spooled == 5 and not integration.stats.queued)
    print("spooled", flush=True)
    told()
"""
FIVE = [f"E{n}" for n in range(5)]

SENDS_WHAT_WAS_LEFT = f"""
    integration = init()
    if not {begins_at_init}:
        capture("own")
    wait_until(lambda: integration.stats.recovered and not integration.stats.spooled)
    stats = integration.stats
    print(stats.recovered, stats.delivered - stats.mirrored, stats.queued)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


# Ends


def test_what_a_process_could_not_deliver_is_sent_by_the_next_one_at_init(
    collector: Collector, path: Path
) -> None:
    outage(collector)
    first = run(
        collector, "init(shutdown_timeout=0.5); [capture(f'E{n}') for n in range(5)]", spool=path
    )
    assert (first.status, collector.messages) == (0, [])
    assert "could not be delivered" not in first.err
    assert len(kept(path)) == 5
    collector.answer = None
    second = run(collector, SENDS_WHAT_WAS_LEFT, spool=path)
    assert second.out == "5 5 0\n", second.err
    assert names(collector)[:5] == FIVE
    assert kept(path) == []


def test_a_server_that_hangs_keeps_the_end_no_longer_than_without_a_spool(
    collector: Collector, path: Path
) -> None:
    collector.answer = lambda call: Reply(delay=threading.Event())
    ended = run(
        collector,
        """
        began = []
        # The first exit handler is the last to run.
        atexit.register(lambda: print((time.monotonic() - began[0]) / 3))
        init(shutdown_timeout=3)
        capture("E")
        began.append(time.monotonic())
        """,
        spool=path,
    )
    assert 0.9 < float(ended.out) < 2.0
    assert (ended.status, ended.err) == (0, "")
    assert len(kept(path)) == 1


def test_an_error_in_an_exit_handler_is_delivered(collector: Collector, path: Path) -> None:
    ended = run(collector, "init(); atexit.register(capture, 'E')", spool=path)
    assert names(collector) == ["E"], ended.err
    assert kept(path) == []


def test_an_error_in_an_exit_handler_during_an_outage_is_left_to_the_next(
    collector: Collector, path: Path
) -> None:
    outage(collector)
    run(collector, "init(shutdown_timeout=0.5); atexit.register(capture, 'E')", spool=path)
    assert len(kept(path)) == 1
    # Released, and not only lapsed in half a minute.
    assert query(path, "SELECT holder FROM writers") == [(None,)]


def test_a_client_that_was_closed_does_not_touch_its_file_at_the_end(
    collector: Collector, path: Path
) -> None:
    ended = run(
        collector,
        """
        init()
        capture("E")
        sentry_sdk.get_client().close()
        wait_until(lambda: not [t for t in threading.enumerate() if "segment" in t.name])
        os.unlink(SPOOL)
        """,
        spool=path,
    )
    assert (ended.status, ended.err) == (0, "")
    assert names(collector) == ["E"]
    assert list(path.parent.iterdir()) == []


# Kills


def test_what_a_killed_process_had_spooled_is_sent_when_its_lease_has_lapsed(
    collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.01)
    outage(collector)
    script = start(collector, SPOOLS_5, spool=path)
    assert script.line() == "spooled"
    script.kill()
    collector.answer = None

    integration = init(segment={"spool": path})
    capture()
    assert integration.flush(10.0)
    assert integration.stats.recovered == 0
    assert len(collector.messages) == 1
    let_leases_lapse(path)
    collector.wait_for_messages(6)
    assert names(collector) == ["ValueError", *FIVE]
    wait_until(lambda: integration.stats.spooled == 0)
    assert (integration.stats.recovered, integration.stats.delivered) == (5, 6)
    assert is_sound(path)


@pytest.mark.skipif(not begins_at_init, reason="this SDK does not tell an integration its options")
def test_a_process_that_captures_nothing_waits_for_the_lease_of_a_killed_one(
    collector: Collector, path: Path
) -> None:
    outage(collector)
    killed = start(collector, SPOOLS_5, spool=path)
    assert killed.line() == "spooled"
    killed.kill()
    collector.answer = None
    script = start(
        collector,
        """
        import sentry_segment.delivery.spooled
        sentry_segment.delivery.spooled._TEND_INTERVAL = 0.01
        integration = init()
        print("began", flush=True)
        told()
        """,
        spool=path,
    )
    assert script.line() == "began"
    let_leases_lapse(path)
    collector.wait_for_messages(5)
    assert names(collector) == FIVE


@pytest.mark.parametrize(
    ("status", "arrivals"),
    [(503, 1), (200, 2)],
    ids=["which was refused", "which was taken"],
)
def test_a_process_killed_during_a_request_loses_nothing(
    status: int, arrivals: int, collector: Collector, path: Path
) -> None:
    """A message that was taken is sent again. Segment knows it by its id."""
    go = hold(collector, status=status)
    script = start(collector, "init(); capture('E'); told()", spool=path)
    arrived(collector)
    script.kill()
    go.set()
    let_leases_lapse(path)
    ended = run(collector, SENDS_WHAT_WAS_LEFT, spool=path)
    assert ended.out == "1 1 0\n", ended.err
    sent = zip(names(collector), collector.messages, strict=True)
    ids = [message["messageId"] for name, message in sent if name == "E"]
    assert len(ids) == arrivals
    assert len(set(ids)) == 1
    assert kept(path) == []


# Many at once


def test_several_processes_on_one_file_deliver_each_message_once(
    collector: Collector, path: Path
) -> None:
    # On a busy machine, one may have the file locked for longer than the others wait for it, who
    # would then send from memory, before what they have in the file.
    script = """
        import sentry_segment.spool.sqlite_file
        sentry_segment.spool.sqlite_file._BUSY_TIMEOUT = 60.0
        integration = init(transport_queue_size=1_000)
        print("ready", flush=True)
        told()
        for n in range(200):
            capture(f"PROCESS-{n}")
        assert integration.flush(60.0)
        stats = integration.stats
        print(stats.mirrored, stats.delivered, stats.queued, stats.spooled, flush=True)
        told()
    """
    scripts = [
        start(collector, script.replace("PROCESS", str(process)), spool=path)
        for process in range(4)
    ]
    assert [each.line() for each in scripts] == ["ready"] * 4
    for each in scripts:
        each.tell()
    assert [each.line() for each in scripts] == ["200 200 0 0"] * 4
    expected = {f"{process}-{n}": 1 for process in range(4) for n in range(200)}
    assert Counter(names(collector)) == expected
    for process in range(4):
        own = [name for name in names(collector) if name.startswith(f"{process}-")]
        assert own == [f"{process}-{n}" for n in range(200)]
    for each in scripts:
        each.tell()
        ended = each.end()
        assert ended.status == 0, ended.err
        assert "spool" not in ended.err
    assert is_sound(path)
    assert kept(path) == []


# Forks

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
