"""Time as the worker sees it; tests pass in another."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import Protocol


class Clock(Protocol):
    """Tells the time, and waits."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""

    def wait(self, wake: SimpleQueue[None], seconds: float | None) -> None:
        """Wait until something is in `wake`, and take it, or until the seconds are over."""


class SystemClock:
    """The real time."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, wake: SimpleQueue[None], seconds: float | None) -> None:
        try:
            wake.get(timeout=seconds)
        except Empty:
            pass
