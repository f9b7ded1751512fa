"""A short trial by fire; `scripts/trial` holds a long one."""

from __future__ import annotations

import signal

import pytest

import trial


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no such signal")
def test_nothing_that_was_spooled_is_lost_in_a_trial_by_fire() -> None:
    report = trial.run(seconds=8.0, workers=3, seed=20)
    print(report)
    assert (report.lost, report.left_in_spool, report.integrity) == (0, 0, "ok")
    # It was one: processes were killed, and it was not for a lack of events that none is missing.
    assert report.kills > 3
    assert report.spooled > 50
    assert report.delivered >= report.spooled
