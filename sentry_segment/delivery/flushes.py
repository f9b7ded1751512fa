"""Those who wait until what was put so far is settled, each until its deadline."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from sentry_segment.delivery.backlog import Backlog
from sentry_segment.delivery.schedule import Delivery
from sentry_segment.guest.foreign import from_signal_handler
from sentry_segment.guest.shutdown import exit_budget, is_ending
from sentry_segment.stats import Counters

MAX_FLUSH = 1e6  # seconds; some of Python's waits take no more


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
    """Begun and finished by any thread, attended to by the one that delivers.

    When the process is ending, a flush is the last try for what waits in any worker, and all
    flushes together get as long as one: `exit_timeout` seconds.
    """

    def __init__(
        self,
        backlog: Backlog,
        delivery: Delivery,
        counters: Counters,
        exit_timeout: float,
        now: Callable[[], float],
    ) -> None:
        self._backlog = backlog
        self._delivery = delivery
        self._counters = counters
        self._exit_timeout = exit_timeout
        self._now = now
        self._new: deque[Flush] = deque()
        self._waiting: list[Flush] = []
        self._is_last_try = False
        self._has_overruled = False

    # Called from any thread

    def begin(self, timeout: float, recovers: bool) -> Flush | None:
        """One for what was put so far; `None` where nothing is left to deliver.

        `recovers` is whether there was something in the spool that other processes had left.
        """
        timeout = min(timeout, MAX_FLUSH)
        last_try = is_ending()
        if last_try:
            timeout = exit_budget.get().allow(timeout, self._exit_timeout)
        # A process that lives for a moment, and finds what others have left, sends that too.
        with_recovered = last_try and recovers
        if not self._undelivered() and not with_recovered:
            return None
        now = self._now()
        flush = Flush(self._backlog.accepted, now, now + timeout, last_try, with_recovered)
        # So that nobody who gives up waiting can cancel what the other thread is about to set.
        flush.done.set_running_or_notify_cancel()
        self._new.append(flush)
        return flush

    def finish(self, flush: Flush | None, deliver_here: Callable[[Flush], None]) -> bool:
        """Wait for a flush until its deadline; whether all it was begun for is settled.

        `deliver_here` is called now and then, and delivers in this thread where it has to.
        """
        if flush is None:
            return not self._undelivered()
        try:
            while True:
                deliver_here(flush)
                remaining = max(0.0, flush.deadline - self._now())
                # In steps: the thread's start, in some other thread, may yet fail. `result` would
                # raise `TimeoutError`, as may a signal handler, which means the application.
                wait([flush.done], min(remaining, 0.1))
                if flush.done.done():
                    return flush.done.result()
                if not remaining:
                    return False
        except BaseException as error:
            give_up_waiting(error)
            raise
        finally:
            if flush.last_try:
                exit_budget.get().spend(self._now() - flush.begun)

    @property
    def has_new(self) -> bool:
        """Whether there is one that was not attended to yet."""
        return bool(self._new)

    def _undelivered(self) -> int:
        with self._counters.lock:
            return self._backlog.accepted - self._backlog.settled

    # Called from the thread that delivers

    def attend(self) -> None:
        """Take the new ones, hurry for them, and end those that are done or hopeless."""
        while self._new:
            self._waiting.append(self._new.popleft())
            self._delivery.hurry(overrule=False)
            self._is_last_try |= self._waiting[-1].last_try
        self._overrule_once()
        # Where nothing will be sent before its deadline, nobody is kept waiting for it.
        hopeless_before = max(self._now(), self._delivery.nothing_before())
        is_recovery_over = self._backlog.has_looked and (
            self._delivery.has_only_aside or self._delivery.is_failing
        )
        self._end(self._backlog.settled, is_recovery_over, hopeless_before)

    def _overrule_once(self) -> None:
        """The last try of a process that ends overrules a Retry-After, be it heard before or since,
        but not a second one in a row."""
        self._has_overruled &= self._delivery.is_failing
        is_told_to_wait = self._delivery.ordered_until() > self._now()
        if self._is_last_try and is_told_to_wait and not self._has_overruled:
            self._has_overruled = True
            self._delivery.hurry(overrule=True)

    def _end(self, settled: int, is_recovery_over: bool, hopeless_before: float) -> None:
        for flush in list(self._waiting):
            is_done = settled >= flush.goal and (is_recovery_over or not flush.with_recovered)
            if is_done or flush.deadline < hopeless_before:
                self._waiting.remove(flush)
                flush.done.set_result(is_done)


def give_up_waiting(error: BaseException) -> None:
    """Where who flushes was interrupted, by Ctrl-C say, a process that ends waits no more."""
    is_interrupted = not isinstance(error, Exception) or from_signal_handler(error)
    if is_interrupted and is_ending():
        exit_budget.get().exhaust()
