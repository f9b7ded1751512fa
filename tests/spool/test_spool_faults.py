"""The spool's file misbehaves: the errors are delivered all the same, and one line says why."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from collector import Call, Collector, Reply
from faults import arrived, hold
from scripts import run, start
from sentry_segment.spool import schema
from sentry_segment.spool.contract import SpoolError
from sentry_segment.spool.schema import SCHEMA
from spools import adds_up, is_sound, kept, leave, outage, query, track, users, wait_until, warnings
from support import Init, capture


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "full, locked" / "spool.db"  # words of SQLite's errors


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for takes no seconds, and a lock is met at once."""
    monkeypatch.setattr("sentry_segment.delivery.spooled._SPOOL_RETRY", 0.05)
    monkeypatch.setattr("sentry_segment.spool.file._BUSY_TIMEOUT", 0.01)
    monkeypatch.setattr("random.random", lambda: 0.01)


# A path that can't be used


def no_folder(path: Path) -> None:
    path.parent.rmdir()


def folder(path: Path) -> None:
    path.mkdir()


def text(path: Path) -> None:
    path.write_text("Do not touch!\n" * 1_000)


def short_text(path: Path) -> None:
    path.write_text("no")


def device(path: Path) -> None:
    path.symlink_to(os.devnull)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE customers (name TEXT); INSERT INTO customers VALUES ('Ann')")


def other_application(path: Path) -> None:
    query(path, "PRAGMA application_id = 1")


def newer_schema(path: Path) -> None:
    leave(path, track("left"))
    query(path, f"PRAGMA user_version = {SCHEMA + 1}")


NO_PERMISSION = "give spool the path of a file in a folder that this process may write to"
ANOTHER_PATH = "give spool another path"
CASES: list[tuple[Callable[[Path], None], str]] = [
    (no_folder, NO_PERMISSION),
    (folder, f"it is not a regular file): {NO_PERMISSION}"),
    (text, ANOTHER_PATH),
    (short_text, ANOTHER_PATH),
    (device, f"it is not a regular file): {NO_PERMISSION}"),
    (pipe, f"it is not a regular file): {NO_PERMISSION}"),
    (other_database, ANOTHER_PATH),
    (other_application, ANOTHER_PATH),
    (newer_schema, f"update sentry-segment, or {ANOTHER_PATH}"),
]


def contents(folder: Path) -> dict[str, bytes | None]:
    """All files of a folder, with their bytes; `None` for what is no file, or is one no more."""
    if not folder.exists():
        return {}
    found: dict[str, bytes | None] = {}
    for each in folder.iterdir():
        found[each.name] = None
        with suppress(FileNotFoundError):
            found[each.name] = each.read_bytes() if each.is_file() else None
    return found


def mend(path: Path) -> None:
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir(exist_ok=True)


@pytest.mark.parametrize(
    ("spoil", "advice"), CASES, ids=[spoil.__name__.replace("_", " ") for spoil, _ in CASES]
)
def test_a_path_that_cannot_be_used_is_said_once_and_used_when_it_can_be(
    spoil: Callable[[Path], None],
    advice: str,
    collector: Collector,
    init: Init,
    path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path.parent.mkdir()
    spoil(path)
    before = contents(path.parent)
    integration = init(segment={"spool": path})
    captured = [capture() for _ in range(3)]
    assert integration.flush(10.0)
    for _ in range(3):  # met again after each `_SPOOL_RETRY`
        capture()
        wait_until(lambda: integration.stats.queued == 0)
        threading.Event().wait(0.06)
    assert [each["messageId"] for each in collector.messages][:3] == captured
    assert len(collector.messages) == 6
    # SQLite's own files are beside it while it is looked at once more.
    wait_until(lambda: contents(path.parent) == before)
    [line] = warnings(caplog)
    assert str(path) in line
    assert advice in line
    assert "messages wait in memory alone" in line

    mend(path)
    go, before_it = hold(collector), len(collector.calls)
    capture()
    arrived(collector, before_it + 1)
    capture()
    wait_until(lambda: integration.stats.spooled >= 1)
    assert integration.stats.queued <= 1  # the one under way, if that was too early
    go.set()
    assert integration.flush(10.0)
    assert len(collector.messages) == 8
    assert adds_up(integration.stats)
    assert warnings(caplog) == [line]


def test_a_problem_that_comes_back_is_said_again_after_the_log_s_interval(
    collector: Collector,
    init: Init,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sentry_segment.guest.log.INTERVAL", 0.0)
    path.parent.mkdir()
    integration = init(segment={"spool": path})
    for n in range(3):
        with locked(path) if n else nothing():
            for _ in range(2):
                capture()
                assert integration.flush(10.0)
                threading.Event().wait(0.06)  # so that it is met twice
        capture()
        assert integration.flush(10.0)
        threading.Event().wait(0.06)
        capture()
        assert integration.flush(10.0)
    assert len(warnings(caplog)) == 2
    assert len(collector.messages) == 12


@contextmanager
def nothing() -> Iterator[None]:
    yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program writes to the file, and does not come to an end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


LOCKED = "end the program that has locked it"


@pytest.mark.parametrize("opened", [False, True], ids=["at opening", "at writing"])
def test_a_locked_file_is_used_again_when_it_is_free(
    opened: bool, collector: Collector, init: Init, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    leave(path)
    if not opened:
        leave(path, track("left"))
    integration = init(segment={"spool": path})
    if opened:
        capture(id="before")
        assert integration.flush(10.0)
        assert integration.stats.spooled == 0
    with locked(path):
        capture(id="own")
        assert integration.flush(10.0)
        assert users(collector)[-1] == "own"
        [line] = warnings(caplog)
        assert str(path) in line
        assert LOCKED in line
        outage(collector)
        capture(id="kept")
        wait_until(lambda: integration.stats.retries > 0)
        assert integration.stats.queued == 1
        capture(id="waits")
    # The one under way stays in memory; the one after it need not.
    wait_until(lambda: "waits" in [message["userId"] for message in kept(path)])
    collector.answer = None
    assert integration.flush(10.0)
    wait_until(lambda: kept(path) == [])
    wait_until(lambda: integration.stats.spooled == 0)
    first = "before" if opened else "left"
    assert sorted(users(collector)) == sorted([first, "own", "kept", "waits"])
    assert adds_up(integration.stats)
    assert warnings(caplog) == [line]


def test_a_message_that_could_not_be_deleted_is_not_sent_again_and_deleted_later(
    collector: Collector, init: Init, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture(id="first")
    arrived(collector)
    with locked(path):
        go.set()
        assert integration.flush(10.0)
        capture(id="second")
        assert integration.flush(10.0)
        assert users(collector) == ["first", "second"]
        assert [message["userId"] for message in kept(path)] == ["first"]
    wait_until(lambda: kept(path) == [])
    capture(id="third")
    assert integration.flush(10.0)
    assert users(collector) == ["first", "second", "third"]
    assert adds_up(integration.stats)
    [line] = warnings(caplog)
    assert LOCKED in line


def test_a_message_that_could_not_be_deleted_is_deleted_when_the_client_is_closed(
    collector: Collector, init: Init, path: Path
) -> None:
    """Or else another process would send it again."""
    path.parent.mkdir()
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture()
    arrived(collector)
    with locked(path):
        go.set()
        assert integration.flush(10.0)
        sentry_sdk.get_client().close()
    wait_until(lambda: kept(path) == [])
    assert len(collector.messages) == 1


@pytest.mark.parametrize("damage", ["removed", "replaced", "cleared"])
def test_a_file_that_is_lost_while_in_use_is_begun_anew(
    damage: str,
    collector: Collector,
    init: Init,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What waits is not to wait for the next look at the leases.
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 60.0)
    path.parent.mkdir()
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture(id="under way")
    arrived(collector)
    capture(id="lost")
    wait_until(lambda: integration.stats.spooled == 2)
    if damage == "cleared":
        query(path, "DELETE FROM messages")
    else:
        if damage == "replaced":
            leave(path.with_name("new"), track("left"))
        for each in path.parent.glob("spool.db*"):
            each.unlink()
        if damage == "replaced":
            path.with_name("new").rename(path)
    for user in ("a", "b", "c"):
        capture(id=user)
    # Not by a look into the file, which would take part in its exchange.
    wait_until(lambda: integration.stats.queued <= 1 and integration.stats.spooled >= 3)
    wait_until(lambda: {"a", "b", "c"} <= {message["userId"] for message in kept(path)})
    go.set()
    assert integration.flush(10.0)
    wait_until(lambda: integration.stats.spooled == 0)
    left = ["left"] if damage == "replaced" else []
    wait_until(lambda: kept(path) == [] or bool(left))
    assert [user for user in users(collector) if user != "left"] == ["under way", "a", "b", "c"]
    stats = integration.stats
    assert (stats.mirrored, stats.queued, stats.spooled) == (5, 0, 0)
    if damage != "cleared":  # by somebody who knows what he does
        assert stats.dropped["network_error"] == 1
        assert adds_up(stats)
        [line] = warnings(caplog)
        assert line.startswith(f"The spool {path} was removed or replaced while it was in use")
    assert is_sound(path)


def test_recovered_messages_that_are_under_way_when_the_file_is_lost_still_count(
    collector: Collector, init: Init, path: Path
) -> None:
    path.parent.mkdir()
    integration = init(segment={"spool": path})
    leave(path, track("left"))  # found with the first message of its own, and sent with that
    go = hold(collector)
    capture(id="own")
    arrived(collector)
    for each in path.parent.iterdir():
        each.unlink()
    capture(id="next")
    wait_until(lambda: path.exists() and integration.stats.queued <= 1)
    assert adds_up(integration.stats)
    go.set()
    assert integration.flush(10.0)
    wait_until(lambda: integration.stats.spooled == 0)
    assert users(collector) == ["left", "own", "next"]
    assert adds_up(integration.stats)
    assert integration.stats.dropped["network_error"] == 0


def test_a_file_that_another_process_begins_meanwhile_is_a_spool(
    collector: Collector,
    init: Init,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path.parent.mkdir()
    looked: list[str] = []
    look = schema.pragma

    def look_slowly(db: sqlite3.Connection, name: str) -> int:
        if looked == ["application_id"]:
            looked.append("and another one begins it")
            with suppress(SpoolError):  # where it has to wait
                leave(path)
        looked.append(name)
        return look(db, name)

    monkeypatch.setattr(schema, "pragma", look_slowly)
    integration = init(segment={"spool": path})
    capture()
    assert integration.flush(10.0)
    assert "and another one begins it" in looked
    assert [line for line in warnings(caplog) if "another application" in line] == []


# Damage


def pages_of_noise(path: Path) -> None:
    """All pages but the first."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        assert size > 3 * 4096
        file.seek(4096)
        file.write(random.Random(1).randbytes(size - 4096))


def zeros(path: Path) -> None:
    """As a file system may leave it after the machine has failed."""
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [pages_of_noise, zeros], ids=["noise", "zeros"])
def test_a_damaged_spool_is_set_aside_and_a_new_one_begun(
    damage: Callable[[Path], None],
    collector: Collector,
    init: Init,
    path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path.parent.mkdir()
    leave(path, *[track(f"u{n}", 1_000) for n in range(100)])
    damage(path)
    damaged = path.read_bytes()
    integration = init(segment={"spool": path})
    go = hold(collector)
    for _ in range(2):
        capture()
        arrived(collector)
    wait_until(lambda: integration.stats.spooled >= 1)
    go.set()
    assert integration.flush(10.0)
    assert len(collector.messages) == 2
    [aside] = path.parent.glob("spool.db.damaged-*")
    assert aside.read_bytes() == damaged
    [line] = warnings(caplog)
    assert line.startswith(f"The spool {path} is damaged (")
    assert f"It is kept as {aside}" in line
    assert adds_up(integration.stats)
    assert is_sound(path)


def test_a_spool_that_is_damaged_while_in_use_is_set_aside(
    collector: Collector,
    init: Init,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What waits is not to wait for the next look at the leases.
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 60.0)
    path.parent.mkdir()
    integration = init(segment={"spool": path, "timeout": 60.0})
    go = hold(collector, status=503)
    capture(id="under way")
    arrived(collector)
    for _ in range(20):
        capture(id="lost")
    wait_until(lambda: integration.stats.spooled == 21)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        pages_of_noise(path)
        db.execute(f"PRAGMA user_version = {SCHEMA}")  # a write: other connections look again
    capture(id="next")
    # Not by a look into the file, which would take part in its exchange.
    wait_until(lambda: integration.stats.dropped["network_error"] == 20)
    wait_until(lambda: integration.stats.queued <= 1 and integration.stats.spooled >= 1)
    collector.answer = None
    go.set()
    assert integration.flush(10.0)
    assert users(collector) == ["under way", "next"]
    assert len(list(path.parent.glob("spool.db.damaged-*[0-9]"))) == 1
    stats = integration.stats
    assert (stats.delivered, stats.dropped["network_error"]) == (2, 20)
    assert adds_up(stats)
    [line] = warnings(caplog)
    assert line.startswith(f"The spool {path} is damaged (")
    assert is_sound(path)


# What an operating system may refuse. In processes of their own: permissions do not count for
# root, which gives itself up there, and limits hold for the whole process.

UNPRIVILEGED = """
    # What is imported late may not be readable later.
    import sentry_segment.spool.sqlite
    warm_up = init({"spool": None})
    capture("warm-up")
    assert warm_up.flush(10.0)
    sentry_sdk.get_client().close()
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that every user comes to: pytest's own are for their owner alone."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
        path.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("what", ["folder", "file", "folder with a spool", "unreadable file"])
def test_what_may_not_be_written_is_said_once(
    what: str, collector: Collector, open_folder: Path
) -> None:
    spool = open_folder / "spool.db"
    if what != "folder":
        leave(spool, track("left"))
        spool.chmod(0o000 if what == "unreadable file" else 0o444)
    open_folder.chmod(0o777 if what.endswith("file") else 0o555)
    before = spool.read_bytes() if spool.exists() else None
    ended = run(
        collector,
        UNPRIVILEGED
        + """
    integration = init()
    for n in range(3):
        capture(f"E{n}")
    assert integration.flush(10.0)
    assert integration.stats.delivered == 3, integration.stats
        """,
        spool=spool,
        measured=False,
    )
    assert ended.status == 0, ended.err
    assert users(collector) == ["u1"] * 4, ended.err
    assert len(ended.err.splitlines()) == 1, ended.err
    [line] = ended.err.splitlines()
    assert str(spool) in line
    assert (NO_PERMISSION if what == "folder" else "it is another user's") in line
    assert before == (spool.read_bytes() if spool.exists() else None)


LIMITED = """
    import logging, resource, sentry_segment.delivery.spooled
    sentry_segment.delivery.spooled._SPOOL_RETRY = 0.05

    def limit(size):
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    class Lines(logging.Handler):
        lines = []

        def emit(self, record):
            if "could not take" not in record.getMessage():
                self.lines.append(record.getMessage())

    logging.getLogger("sentry_segment").addHandler(Lines())

    def wait_spooled(n):
        wait_until(lambda: integration.stats.spooled == n and not integration.stats.queued)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
def test_a_file_that_cannot_grow_from_the_first_message_on(
    collector: Collector, tmp_path: Path
) -> None:
    ended = run(
        collector,
        LIMITED
        + """
    limit(1_000)
    integration = init()
    capture("first")
    assert integration.flush(10.0)
    print(integration.stats.delivered, integration.stats.spooled)
    print(*Lines.lines)
        """,
        spool=tmp_path / "spool.db",
        measured=False,
    )
    stats, *lines = ended.out.splitlines()
    assert stats == "1 0", ended.err
    assert len(lines) == 1
    assert str(tmp_path / "spool.db") in lines[0]


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
def test_a_file_that_cannot_grow_in_the_middle_of_an_outage(
    collector: Collector, tmp_path: Path
) -> None:
    spool = tmp_path / "spool.db"
    mended = threading.Event()
    collector.answer = lambda call: None if mended.is_set() else Reply(503)
    script = start(
        collector,
        LIMITED
        + """
    integration = init()
    capture("before")
    wait_spooled(1)
    limit(os.path.getsize(SPOOL + "-wal"))
    for n in range(20):
        capture(f"full{n}")
    wait_until(lambda: Lines.lines)
    print(integration.stats.spooled, flush=True)
    told()
    limit(resource.RLIM_INFINITY)
    wait_spooled(21)
    print(integration.stats.spooled, flush=True)
    told()
    assert integration.flush(20.0)
    print(integration.stats.delivered, integration.stats.queued, flush=True)
    print(len(Lines.lines))
    print(*Lines.lines, flush=True)
        """,
        spool=spool,
        measured=False,
    )
    assert script.line() == "1"
    script.tell()
    assert script.line() == "21"
    assert len(kept(spool)) == 21
    mended.set()
    script.tell()
    assert script.line() == "21 0"
    assert script.line() == "1"
    assert str(spool) in script.line()
    ended = script.end()
    assert (ended.status, ended.err.count(str(spool))) == (0, 0)
    assert sorted(users(collector)) == ["u1"] * 21
    assert is_sound(spool)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KB, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
        pytest.skip("this process may not mount a file system")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(path: Path) -> None:
    """Leave no room on the disk."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are Linux's")
@pytest.mark.parametrize("at", ["the first message", "an outage"])
def test_on_a_full_disk_messages_wait_in_memory_until_there_is_room(
    at: str,
    collector: Collector,
    init: Init,
    small_disk: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spool = small_disk / "spool.db"
    filler = small_disk / "filler"
    outage(collector)
    integration = init(segment={"spool": spool})
    if at == "an outage":
        capture(id="before")
        wait_until(lambda: integration.stats.spooled == 1)
    fill(filler)
    for _ in range(20):
        capture()
    wait_until(lambda: warnings(caplog) != [])
    assert integration.stats.queued > 0
    [line] = warnings(caplog)
    assert str(spool) in line
    assert "make room on its disk" in line
    filler.unlink()
    wait_until(lambda: integration.stats.spooled > (at == "an outage"))
    collector.answer = None
    assert integration.flush(10.0)
    assert len(collector.messages) == 20 + (at == "an outage")
    assert adds_up(integration.stats)
    assert warnings(caplog) == [line]
    assert is_sound(spool)
    sentry_sdk.get_client().close()


def test_an_answer_that_comes_when_the_spool_cannot_be_used_settles_all_the_same(
    collector: Collector, init: Init, path: Path
) -> None:
    """A batch of which a half was refused, in the midst of it."""
    path.parent.mkdir()
    integration = init(segment={"spool": path})
    leave(path, *[track(f"u{n}") for n in range(4)])  # found with the first message of its own
    go = threading.Event()

    def answer(call: Call) -> Reply | None:
        if b'"u1"' not in call.body:
            return None
        return Reply(400, delay=None if go.is_set() else go)

    collector.answer = answer
    capture(id="own")
    arrived(collector)
    with locked(path):
        go.set()
        assert integration.flush(10.0)
        wait_until(lambda: integration.stats.spooled == 0)
        assert users(collector) == ["u0", "u2", "u3", "own"]
    wait_until(lambda: kept(path) == [])
    stats = integration.stats
    assert (stats.recovered, stats.dropped["send_error"]) == (4, 1)
    assert adds_up(stats)


# The unexpected


def test_a_flush_is_not_done_by_what_overtakes_the_messages_in_the_spool(
    collector: Collector,
    init: Init,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.spooled._SPOOL_RETRY", 3_600.0)
    path.parent.mkdir()
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture(id="under way")
    arrived(collector)
    for n in range(3):
        capture(id=f"spooled{n}")
    wait_until(lambda: integration.stats.spooled == 4)
    assert integration._worker is not None
    with locked(path):
        capture(id="before the flush")
        wait_until(lambda: warnings(caplog) != [])
        flush = integration._worker.begin_flush(60.0)
        assert flush is not None
        for _ in range(5):
            capture(id="after it")
        go.set()
        wait_until(lambda: users(collector).count("after it") == 5)
        wait_until(lambda: integration.stats.queued == 0)
        assert integration.stats.spooled == 3
        assert not flush.done.done()
    assert integration._worker._backlog._spooled is not None
    integration._worker._backlog._spooled._again_at = 0.0  # an hour later
    assert integration.flush(10.0)
    assert flush.done.result(10.0)
    assert len(users(collector)) == 10


def test_messages_that_somebody_has_deleted_are_waited_for_no_longer(
    collector: Collector, init: Init, path: Path
) -> None:
    path.parent.mkdir()
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture(id="under way")
    arrived(collector)
    capture(id="deleted")
    wait_until(lambda: integration.stats.spooled == 2)
    query(path, "DELETE FROM messages")
    go.set()
    assert integration.flush(10.0)
    assert integration.stats.spooled == 0
    capture(id="next")
    assert integration.flush(10.0)
    assert users(collector) == ["under way", "next"]


@pytest.mark.parametrize(
    "place",
    [
        "sentry_segment.wire.api.SegmentApi.send",
        "sentry_segment.delivery.schedule.Delivery.act_on",
        "sentry_segment.delivery.backlog.Backlog.tend",
        "sentry_segment.spool.sqlite.SqliteSpool.add",
        "sentry_segment.spool.sqlite.SqliteSpool.read",
        "sentry_segment.spool.sqlite.SqliteSpool.delete",
    ],
)
def test_a_fault_of_ours_costs_no_message(
    place: str, collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    integration = init(segment={"spool": path})
    capture(id="before")
    assert integration.flush(10.0)
    faults: list[Exception] = [RuntimeError("a fault") for _ in range(3)]
    owner, _, name = place.rpartition(".")
    module, _, class_name = owner.rpartition(".")
    real = getattr(getattr(sys.modules[module], class_name), name)

    def fail_at_first(*args: Any, **options: Any) -> Any:
        if faults:
            raise faults.pop()
        return real(*args, **options)

    monkeypatch.setattr(place, fail_at_first)
    for n in range(5):
        capture(id=f"u{n}")
    wait_until(lambda: not faults)
    wait_until(lambda: integration.flush(1.0))
    # What is the fault's own: a request may be made again.
    assert sorted(set(users(collector))) == ["before", *(f"u{n}" for n in range(5))]
    assert adds_up(integration.stats)
    assert not kept(path)
