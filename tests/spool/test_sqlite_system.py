"""What an operating system may refuse, in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import sentry_sdk

from collector import Call, Collector, Reply
from faults import arrived
from scripts import run, start
from sqlite_faults import NO_PERMISSION, locked
from sqlite_spools import adds_up, is_sound, kept, leave, outage, track, users, wait_until, warnings
from support import Init, capture


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "full, locked" / "spool.db"  # words of SQLite's errors


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for takes no seconds, and a lock is met at once."""
    monkeypatch.setattr("sentry_segment.delivery.availability.SPOOL_RETRY", 0.05)
    monkeypatch.setattr("sentry_segment.spool.sqlite_file._BUSY_TIMEOUT", 0.01)
    monkeypatch.setattr("random.random", lambda: 0.01)


# What an operating


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
    import logging, resource, sentry_segment.delivery.availability
    sentry_segment.delivery.availability.SPOOL_RETRY = 0.05

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
