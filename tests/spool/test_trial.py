"""A short trial by fire; `scripts/trial` holds a long one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import trial
from support import at_length
from trial_places import AFile, ARedis, TrialPlace

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="this system has no such signal"
)


@at_length
@pytest.mark.parametrize("kind", [AFile, ARedis])
def test_nothing_that_was_spooled_is_lost_in_a_trial_by_fire(
    kind: Callable[[str, str], TrialPlace], request: pytest.FixtureRequest
) -> None:
    if kind is ARedis:
        request.getfixturevalue("shared_redis")  # or the test is left out
    report = trial.run(seconds=10, workers=3, seed=20, least_kills=6, kind=kind)
    print(report)
    assert (report.lost, report.left_in_spool, report.integrity) == (0, 0, "ok")
    # It was not for a lack of events that none is missing.
    assert report.spooled > 50
    assert report.delivered >= report.spooled


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@at_length
@pytest.mark.skipif(not Path("/proc").exists(), reason="this system has no /proc")
def test_a_trial_that_fails_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    started: set[str] = set()

    def fail(folder: str, kind: str) -> int:
        started.update(children() - before)
        raise RuntimeError("the trial failed")

    monkeypatch.setattr(trial, "noted", fail)
    with pytest.raises(RuntimeError, match="the trial failed"):
        trial.run(seconds=0.0, workers=3, seed=20)
    assert len(started) >= 3
    assert not started & children()
