"""What was committed survives the machine, but for that of the last second."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import PATIENCE
from sentry_segment.spool import sqlite_sync
from sentry_segment.spool.sqlite import SqliteSpool
from sqlite_spools import MAX_BYTES, kept, open_files, wait_until
from support import WRITE_KEY


class Disk:
    """Counts the flushes of the log, and keeps what each leaves behind: what is surely there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.flushes = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.is_flushing = threading.Event()

    def flush(self, descriptor: int) -> None:
        self.is_flushing.set()
        assert self.go_on.wait(PATIENCE)
        assert os.path.samestat(os.fstat(descriptor), os.stat(f"{self.path}-wal"))
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.path}{suffix}", f"{self.path}-saved{self.flushes + 1}{suffix}")
        os.fdatasync(descriptor)
        self.flushes += 1

    def after_power_loss(self) -> list[int]:
        return [
            int(message["userId"]) for message in kept(Path(f"{self.path}-saved{self.flushes}"))
        ]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk(tmp_path / "spool.db")
    monkeypatch.setattr(sqlite_sync, "_flush", made.flush)
    yield made
    made.go_on.set()
    wait_until(lambda: not syncing())


def syncing() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "sentry-segment sync"]


def add(spool: SqliteSpool, number: int) -> None:
    assert spool.add([b'{"userId": "%d"}' % number]) == 1


def test_what_was_committed_is_flushed_through_to_the_disk_within_a_second(disk: Disk) -> None:
    assert sqlite_sync.SYNC_AFTER < 1.0
    spool = SqliteSpool(str(disk.path), MAX_BYTES, WRITE_KEY)
    add(spool, 1)
    add(spool, 2)
    wait_until(lambda: disk.flushes > 0 and not syncing())
    assert disk.after_power_loss() == [1, 2]
    add(spool, 3)
    wait_until(lambda: disk.after_power_loss() == [1, 2, 3])
    spool.close()


def test_many_commits_are_flushed_together(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_sync, "SYNC_AFTER", 60.0)
    passed = threading.Event()
    monkeypatch.setattr(
        "sentry_segment.spool.sqlite_sync.time.sleep", lambda _: passed.wait(PATIENCE)
    )
    spool = SqliteSpool(str(disk.path), MAX_BYTES, WRITE_KEY)
    for number in range(100):
        add(spool, number)
    assert len(syncing()) == 1
    passed.set()
    wait_until(lambda: not syncing())
    assert disk.flushes == 1
    assert disk.after_power_loss() == list(range(100))
    spool.close()


def test_a_slow_disk_holds_up_nobody_and_needs_one_thread(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_sync, "SYNC_AFTER", 0.0)
    disk.go_on.clear()
    spool = SqliteSpool(str(disk.path), MAX_BYTES, WRITE_KEY)
    add(spool, 0)
    assert disk.is_flushing.wait(PATIENCE)
    for number in range(1, 20):
        add(spool, number)
    assert spool.writer is not None
    spool.delete([spool.read([spool.writer], ())[0].id])
    assert len(syncing()) == 1
    disk.go_on.set()
    wait_until(lambda: not syncing())
    assert disk.after_power_loss() == list(range(1, 20))
    spool.close()


def test_a_log_that_is_gone_or_a_broken_disk_is_no_trouble(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = threading.Event()
    monkeypatch.setattr(
        "sentry_segment.spool.sqlite_sync.time.sleep", lambda _: passed.wait(PATIENCE)
    )
    spool = SqliteSpool(str(disk.path), MAX_BYTES, WRITE_KEY)
    add(spool, 1)
    spool.close()
    assert not os.path.exists(f"{disk.path}-wal")
    passed.set()
    wait_until(lambda: not syncing())

    def broken(descriptor: int) -> None:
        disk.flushes += 1
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sqlite_sync, "_flush", broken)
    add(spool, 2)
    wait_until(lambda: disk.flushes == 1 and not syncing())
    add(spool, 3)
    assert len(kept(disk.path)) == 3
    spool.close()


def test_where_no_thread_can_be_had_messages_are_added_all_the_same(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    spool = SqliteSpool(str(disk.path), MAX_BYTES, WRITE_KEY)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        add(spool, 1)
    add(spool, 2)
    wait_until(lambda: disk.flushes == 1)
    spool.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_locks_of_the_file_outlive_a_flush(disk: Disk) -> None:
    """Closing a descriptor of the database would drop them, in the midst of a transaction."""
    spool = SqliteSpool(str(disk.path), MAX_BYTES, WRITE_KEY)
    add(spool, 1)
    wait_until(lambda: not syncing())
    with spool._file.transaction():
        sqlite_sync._flush_log(f"{disk.path}-wal")
        ask = (
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=0); "
            "db.execute('BEGIN IMMEDIATE')"
        )
        asked = subprocess.run(
            [sys.executable, "-c", ask, str(disk.path)], capture_output=True, check=False
        )
    assert b"database is locked" in asked.stderr
    spool.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_during_a_flush_keeps_no_descriptor_of_the_log(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_sync, "SYNC_AFTER", 0.0)
    disk.go_on.clear()
    spool = SqliteSpool(str(disk.path), MAX_BYTES, WRITE_KEY)
    add(spool, 1)
    assert disk.is_flushing.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        os._exit(len(open_files(disk.path)))
    disk.go_on.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    spool.close()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_system_sees_a_few_flushes_and_not_one_for_each_commit(
    tmp_path: Path,
) -> None:
    """And one of the folder, which the file and its log are in."""
    code = f"""
import sys, time
from sentry_segment.spool.sqlite import SqliteSpool
spool = SqliteSpool(sys.argv[1], {MAX_BYTES}, "key")
commits, end = 0, time.monotonic() + 2
while time.monotonic() < end:
    spool.add([b"x"]); commits += 1; time.sleep(0.002)
print(commits)
import os; os._exit(0)
"""
    calls = tmp_path / "calls"
    traced = ["strace", "-f", "-y", "-o", str(calls), "-e", "trace=fsync,fdatasync"]
    ran = subprocess.run(
        [*traced, sys.executable, "-c", code, str(tmp_path / "spool.db")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    flushes = [line for line in calls.read_text().splitlines() if "sync(" in line]
    of_log = [line for line in flushes if "spool.db-wal>" in line]
    assert [line for line in flushes if f"{tmp_path}>" in line]
    commits = int(ran.stdout)
    # At the least two of ours; and two of SQLite's each time that it writes the log back.
    assert 3 <= len(of_log) <= 6 + commits / 50


GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, sys, time
from gevent import get_hub
from sentry_segment.spool import sqlite_sync
from sentry_segment.spool.sqlite import SqliteSpool
native = monkey.get_original("time", "sleep")
begun, ended = [], []
def slow(descriptor):
    begun.append(1)
    native(0.5)
    ended.append(1)
sqlite_sync._flush = slow
spool = SqliteSpool(sys.argv[1], 10_000_000, "key")
spool.add([b"x"])
while not begun:
    gevent.sleep(0.01)
assert not ended
while not ended:
    gevent.sleep(0.01)
"""


def test_under_gevent_a_flush_holds_up_no_other_greenlet(tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    subprocess.run(
        [sys.executable, "-c", GEVENT, str(tmp_path / "spool.db")], check=True, timeout=PATIENCE
    )
