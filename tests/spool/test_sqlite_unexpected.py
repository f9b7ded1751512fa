"""What nobody expects of the spool's file, or of SQLite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from collector import Collector
from faults import arrived, hold
from sqlite_faults import locked
from sqlite_spools import adds_up, kept, query, users, wait_until, warnings
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


# The unexpected


def test_a_flush_is_not_done_by_what_overtakes_the_messages_in_the_spool(
    collector: Collector,
    init: Init,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.availability.SPOOL_RETRY", 3_600.0)
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
    integration._worker._backlog._spooled._availability.again_at = 0.0  # an hour later
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
