"""Time as the mirror sees it; tests pass in another."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol


def _real_clock() -> Callable[[], float]:
    # Libraries that freeze or shift time for tests (freezegun, time-machine) put others in the
    # place of `time.monotonic` and `time.time`, in part for some callers alone. They leave this be.
    if hasattr(time, "clock_gettime"):
        return partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    return partial(time.monotonic)  # as a name of a module's it would be found, and replaced


monotonic: Callable[[], float] = _real_clock()
"""Seconds of a clock that goes on evenly, whoever sets the system's or freezes time for a test.

One for all processes of a machine, since it was started."""


class Clock(Protocol):
    """Tells the time, and waits."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""

    def wait(self, wake: SimpleQueue[None], seconds: float | None) -> None:
        """Wait until something is in `wake`, and take it, or until the seconds are over."""


class SystemClock:
    """The real time."""

    def now(self) -> float:
        return monotonic()

    def wait(self, wake: SimpleQueue[None], seconds: float | None) -> None:
        try:
            wake.get(timeout=seconds)
        except Empty:
            pass
