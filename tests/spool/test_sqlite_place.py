"""A path that can't be used costs a line in the log, and no message while memory lasts."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import sentry_sdk

from collector import Collector
from faults import arrived, hold
from sentry_segment.spool import sqlite_schema
from sentry_segment.spool.contract import SpoolError
from sentry_segment.spool.sqlite_schema import SCHEMA
from sqlite_faults import NO_PERMISSION, folder, locked
from sqlite_spools import (
    adds_up,
    is_sound,
    kept,
    leave,
    outage,
    query,
    track,
    users,
    wait_until,
    warnings,
)
from support import Init, capture, some


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "full, locked" / "spool.db"  # words of SQLite's errors


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for takes no seconds, and a lock is met at once."""
    monkeypatch.setattr("sentry_segment.delivery.availability.SPOOL_RETRY", 0.05)
    monkeypatch.setattr("sentry_segment.spool.sqlite_file._BUSY_TIMEOUT", 0.01)
    monkeypatch.setattr("random.random", lambda: 0.01)


# A path that


def no_folder(path: Path) -> None:
    path.parent.rmdir()


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


@some
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
    for _ in range(3):  # met again after each `SPOOL_RETRY`
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
    look: Callable[..., int] = sqlite_schema.pragma

    def look_slowly(db: sqlite3.Connection, name: str) -> int:
        if looked == ["application_id"]:
            looked.append("and another one begins it")
            with suppress(SpoolError):  # where it has to wait
                leave(path)
        looked.append(name)
        return look(db, name)

    monkeypatch.setattr(sqlite_schema, "pragma", look_slowly)
    integration = init(segment={"spool": path})
    capture()
    assert integration.flush(10.0)
    assert "and another one begins it" in looked
    assert [line for line in warnings(caplog) if "another application" in line] == []
