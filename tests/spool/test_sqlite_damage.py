"""A damaged file is set aside, and another begun."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from collector import Collector
from faults import arrived, hold
from sentry_segment.spool.sqlite_schema import SCHEMA
from sqlite_spools import adds_up, is_sound, leave, track, users, wait_until, warnings
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
