"""What is not delivered when the process ends: left to the next one in the spool, or lost."""

from __future__ import annotations

from collections.abc import Callable

from sentry_segment.delivery.backlog import Backlog
from sentry_segment.delivery.loop import Loop
from sentry_segment.delivery.queue import MessageQueue
from sentry_segment.guest.log import warn
from sentry_segment.stats import Counters


class Leftovers:
    """A worker's, for the thread in which the exit handlers run."""

    def __init__(
        self,
        queue: MessageQueue,
        backlog: Backlog,
        loop: Loop,
        counters: Counters,
        host: str,
        now: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._backlog = backlog
        self._loop = loop
        self._counters = counters
        self._host = host
        self._now = now
        self._reported = 0

    def leave(self, deadline: float) -> None:
        """Have the last messages written to the spool, and leave it to the next process."""
        if not self._backlog.is_spooling:
            return
        while len(self._queue) and not self._backlog.is_hopeless:
            # Where there is a thread, it delivers, and writes by itself.
            if self._loop.tend_here(0.01) or self._now() >= deadline:
                break
        self._backlog.leave()

    def report_loss(self) -> None:
        """Say what the process leaves undelivered when it ends."""
        lost = len(self._queue) - self._reported
        if lost > 0:  # some children of multiprocessing come by here twice
            self._reported += lost
            self._counters.drop("network_error", lost)
            last_error = self._counters.last_error or "no answer yet"
            warn(
                f"{lost} message(s) could not be delivered to Segment ({self._host}) "
                f"before the process ended: {last_error}"
            )
