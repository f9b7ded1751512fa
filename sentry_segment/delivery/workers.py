"""The worker of an integration in each process that it finds itself in, and the end of these."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from weakref import WeakSet

from sentry_segment.delivery.worker import Worker
from sentry_segment.guest.clock import monotonic
from sentry_segment.guest.forks import PerProcess
from sentry_segment.guest.shutdown import at_celery_exit, at_multiprocessing_exit, exit_budget

_SPOOL_AT_EXIT = 1.0  # seconds for what is still in memory, where another process locks the spool


class Workers:
    """One worker for each process. A child begins with an empty queue, and counters at 0.

    What the parent has waiting, and its connections, are the parent's.
    """

    def __init__(self, make: Callable[[set[Hashable]], Worker]) -> None:
        self._make = make
        self._users: set[Hashable] = set()  # which a child has as well
        self._worker = PerProcess(self._begin)

    def here(self) -> Worker:
        """The worker of this process."""
        return self._worker.get()

    def peek(self) -> Worker | None:
        """The worker of this process, if it has one by now."""
        return self._worker.peek()

    def release(self, user: Hashable) -> None:
        """As `Worker.release`, in whichever process that is called."""
        self._users.discard(user)
        if (worker := self.peek()) is not None:
            worker.release(user)

    def _begin(self) -> Worker:
        _leave_to_parent()
        at_multiprocessing_exit(flush_at_exit)
        at_celery_exit(leave_at_exit)
        worker = self._make(self._users)
        _all.add(worker)
        return worker


# Of integrations that are in use no more as well, as long as their threads run.
_all: WeakSet[Worker] = WeakSet()


def _workers_here() -> list[Worker]:
    return [worker for worker in list(_all) if worker.is_here]


def _leave_to_parent() -> None:
    """In a child: leave the parent's connections to it. Else does nothing."""
    for worker in list(_all):
        if not worker.is_here:
            worker.leave_to_parent()


def flush_at_exit() -> None:
    """Deliver, when the process ends, what Sentry's own exit hook did not have delivered."""
    flushes = [(worker, worker.begin_flush(worker.exit_timeout)) for worker in _workers_here()]
    try:
        for worker, flush in flushes:
            worker.finish_flush(flush)
    finally:  # Ctrl-C
        leave_at_exit()


def leave_at_exit() -> None:
    """Leave what the last flush did not have delivered: to another process, or for good."""
    is_interrupted = exit_budget.get().is_exhausted
    deadline = monotonic() + (0.0 if is_interrupted else _SPOOL_AT_EXIT)
    for worker in _workers_here():
        try:
            worker.leave_spool(deadline)
        finally:  # and where it is interrupted, say what is lost by it
            worker.report_loss()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
