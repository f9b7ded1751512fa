"""The file: who may read it, how large it grows, and its leases."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from collector import Collector
from faults import arrived, hold
from scripts import run, start
from sentry_segment import TrackMessage
from sentry_segment.spool.sqlite import SqliteSpool
from sentry_segment.spool.sqlite_schema import APPLICATION_ID, SCHEMA
from spooling import ours
from sqlite_spools import (
    FILES,
    MAX_BYTES,
    kept,
    leave,
    let_leases_lapse,
    open_files,
    outage,
    query,
    track,
    users,
    wait_until,
    warnings,
)
from support import WRITE_KEY, Init, capture

# The file


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_file_and_those_beside_it_are_for_their_owner_alone(
    umask: int, collector: Collector, init: Init, path: Path
) -> None:
    integration = init(segment={"spool": path})
    outage(collector)
    previous = os.umask(umask)
    try:
        capture()
        wait_until(lambda: integration.stats.spooled == 1)
    finally:
        os.umask(previous)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"spool.db": 0o600, "spool.db-wal": 0o600, "spool.db-shm": 0o600}


def test_the_file_says_what_it_is(path: Path) -> None:
    leave(path, track("u1"))
    assert query(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert query(path, "PRAGMA user_version") == [(SCHEMA,)]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]


def test_the_write_key_stands_nowhere_in_the_files(collector: Collector, path: Path) -> None:
    outage(collector)
    script = start(
        collector,
        """
        integration = init()
        capture("E")
        wait_until(lambda: integration.stats.spooled == 1)
        print("spooled", flush=True)
        told()
        """,
        spool=path,
    )
    assert script.line() == "spooled"
    script.kill()  # which leaves the write-ahead log as well
    content = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert sorted(content) == ["spool.db", "spool.db-shm", "spool.db-wal"]
    assert [each for each in content.values() if b'"exceptionType":"E"' in each]
    assert not [each for each in content.values() if WRITE_KEY.encode() in each]


OTHERS = {
    "no file": [],
    "nothing in it": [""],
    "another key's messages": ["another key"],
}


@pytest.mark.parametrize("keys", OTHERS.values(), ids=OTHERS)
def test_init_with_nothing_to_send_makes_no_file_and_starts_no_thread(
    keys: list[str], collector: Collector, path: Path
) -> None:
    for key in keys:
        leave(path, *[track("another's")] * bool(key), write_key=key)
    ended = run(
        collector,
        """
        init()
        print([each.name for each in threading.enumerate() if "segment" in each.name])
        print(sorted(os.listdir(os.path.dirname(SPOOL))))  # an open file has others beside it
        """,
        spool=path,
    )
    assert ended.out == f"[]\n{[path.name] * bool(keys)}\n", ended.err
    assert len(collector.calls) == 0


def test_closing_the_client_leaves_no_thread_and_no_open_file(
    collector: Collector, init: Init, path: Path
) -> None:
    before = set(threading.enumerate())
    init(segment={"spool": path})
    capture()
    collector.wait_for_messages(1)
    assert open_files(path) or not FILES.exists()
    sentry_sdk.get_client().close()
    wait_until(lambda: not [each for each in set(threading.enumerate()) - before if ours(each)])
    assert open_files(path) == []
    assert os.listdir(path.parent) == [path.name]


# Room


def pad(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
    message["properties"]["padding"] = "x" * 10_000
    return message


def test_past_spool_max_bytes_the_newest_are_dropped_until_there_is_room(
    collector: Collector, init: Init, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    integration = init(segment={"spool": path, "spool_max_bytes": 1_000_000, "before_track": pad})
    outage(collector)
    captured = [capture() for _ in range(120)]
    wait_until(lambda: integration.stats.queued == 0)
    stats = integration.stats
    assert 60 < stats.spooled < 100
    assert stats.spooled + stats.dropped["queue_overflow"] == 120
    accepted = captured[: stats.spooled]
    assert [message["messageId"] for message in kept(path)] == accepted
    [line] = warnings(caplog)
    assert line.startswith(f"The spool {path} is full (spool_max_bytes)")

    collector.answer = None
    assert integration.flush(10.0)
    accepted.append(capture())
    assert integration.flush(10.0)
    assert [message["messageId"] for message in collector.messages] == accepted
    assert integration.stats.dropped == stats.dropped
    sentry_sdk.get_client().close()
    wait_until(lambda: os.listdir(path.parent) == [path.name])  # with the log written back
    assert path.stat().st_size <= 1_000_000


def test_the_file_shrinks_when_a_large_backlog_was_delivered(
    collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.01)
    integration = init(segment={"spool": path})
    capture()
    assert integration.flush(10.0)
    outage(collector)
    for part in range(20):
        leave(path, *[track(f"u{part}-{n}", 10_000) for n in range(100)])
    collector.answer = None
    collector.wait_for_messages(2_001, timeout=30.0)
    wait_until(lambda: query(path, "PRAGMA freelist_count") == [(0,)])
    # The log, which is as large as it ever was, did not take as much instead.
    assert path.with_name(path.name + "-wal").stat().st_size < 8_000_000
    sentry_sdk.get_client().close()
    wait_until(lambda: os.listdir(path.parent) == [path.name])  # with the log written back
    assert path.stat().st_size < 100_000


# Leases


def test_a_lease_from_before_the_machine_was_started_has_lapsed(path: Path) -> None:
    now = 1_000_000.0
    dead, alive = (SqliteSpool(str(path), MAX_BYTES, WRITE_KEY, lambda: now) for _ in range(2))
    dead.add([b"1"])
    now -= 0.5  # one that looked at the clock before it, and then waited for it
    assert alive.tend([]) == ({}, set())
    now -= 3600
    assert alive.tend([]) == ({dead.writer: 1}, set())


def test_a_writer_without_messages_is_forgotten_when_its_lease_has_lapsed(path: Path) -> None:
    dead, alive = (SqliteSpool(str(path), MAX_BYTES, WRITE_KEY) for _ in range(2))
    dead.add([b"1"])
    dead.delete([row.id for row in dead.read([dead.writer or 0], without=[])])
    let_leases_lapse(path)
    assert alive.tend([]) == ({}, set())
    assert query(path, "SELECT COUNT(*) FROM writers") == [(0,)]


def test_a_process_that_lost_its_messages_to_another_ends_with_those_under_way(
    collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped for longer than a lease, it goes on with what comes next."""
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.01)
    integration = init(segment={"spool": path})
    go = hold(collector, status=503)
    capture(id="under way")
    arrived(collector)
    capture(id="taken over")
    wait_until(lambda: integration.stats.spooled == 2)
    query(path, "UPDATE writers SET holder = 'another'")
    capture(id="next")
    wait_until(lambda: len(kept(path)) == 3)
    wait_until(lambda: integration.stats.spooled == 2)
    [theirs, own] = query(path, "SELECT holder FROM writers ORDER BY id")
    assert theirs == ("another",) != own
    go.set()
    assert integration.flush(10.0)
    assert users(collector) == ["under way", "next"]
    stats = integration.stats
    assert (stats.mirrored, stats.spooled, stats.delivered) == (3, 0, 2)


def test_what_was_lost_to_another_and_is_claimed_back_is_as_anothers(
    collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.01)
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture(id="under way")
    arrived(collector)
    for n in range(3):
        capture(id=f"u{n}")
    wait_until(lambda: integration.stats.spooled == 4)
    query(path, "UPDATE writers SET holder = 'another'")
    wait_until(lambda: integration.stats.spooled == 1)  # that is under way
    query(path, "UPDATE writers SET holder = NULL")
    wait_until(lambda: integration.stats.recovered >= 3)
    capture(id="next")
    wait_until(lambda: integration.stats.queued == 0)
    assert len(query(path, "SELECT id FROM writers")) == 2
    go.set()
    assert integration.flush(10.0)
    wait_until(lambda: integration.stats.spooled == 0)
    assert sorted(users(collector)) == ["next", "u0", "u1", "u2", "under way"]
    assert integration.stats.delivered == 5
    assert not kept(path)
