"""Those who wait until what was put so far is settled."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Flush:
    """Somebody waiting until the first `goal` messages are settled."""

    goal: int
    begun: float
    deadline: float
    last_try: bool = False
    with_recovered: bool = False
    """Whether it waits for messages of other processes too, as long as no request fails."""
    done: Future[bool] = field(default_factory=Future)
    """Whether they are settled; without a result as long as that is open."""


class Flushes:
    """Handed over by any thread, attended to by the one that delivers."""

    def __init__(self) -> None:
        self._new: deque[Flush] = deque()
        self._waiting: list[Flush] = []

    def add(self, flush: Flush) -> None:
        """From any thread."""
        # So that nobody who gives up waiting can cancel what the other thread is about to set.
        flush.done.set_running_or_notify_cancel()
        self._new.append(flush)

    @property
    def has_new(self) -> bool:
        """Whether there is something to take."""
        return bool(self._new)

    def take(self) -> Flush | None:
        """The next new one, which from then on is waiting; `None` where there is none."""
        if not self._new:
            return None
        self._waiting.append(self._new.popleft())
        return self._waiting[-1]

    def end(self, settled: int, is_recovery_over: bool, hopeless_before: float) -> None:
        """End those that have reached their goal, and those whose deadline is too early."""
        for flush in list(self._waiting):
            is_done = settled >= flush.goal and (is_recovery_over or not flush.with_recovered)
            if is_done or flush.deadline < hopeless_before:
                self._waiting.remove(flush)
                flush.done.set_result(is_done)
