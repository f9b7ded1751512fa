"""The end of the process: whether it has come, and how long it may take."""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
from collections.abc import Callable

from sentry_segment.guest.forks import PerProcess

# Process ids: of children of multiprocessing whose end has a hook; and of those whose end has come.
_hooked: set[int] = set()
_ending: set[int] = set()
_is_marked = False


def is_ending() -> bool:
    """Whether the exit handlers run: what is not delivered now, this process never delivers.

    They are called in the main thread, once the interpreter has marked it as done. The mark alone
    does not tell: it is set while other threads that are no daemons may go on for hours. And under
    gevent it is missing from Python 3.13 on: there our own handler says so (`mark_end`).
    """
    main = threading.main_thread()
    return threading.current_thread() is main and (not main.is_alive() or os.getpid() in _ending)


def mark_end() -> None:
    """Have the end of the process noticed. To be called after Sentry has set up its exit handler.

    Exit handlers run last in, first out, so that ours comes before that one, which flushes.
    """
    global _is_marked
    if not _is_marked:
        _is_marked = True
        atexit.register(lambda: _ending.add(os.getpid()))


def at_multiprocessing_exit(function: Callable[[], object]) -> None:
    """Call a function when this process ends, where it is a child started by `multiprocessing`.

    Such a child ends with `os._exit`, and so without the handlers of `atexit`; `multiprocessing`
    has its own. Where this is called again, nothing is added.
    """
    util = sys.modules.get("multiprocessing.util")  # imported in every such child
    process = sys.modules.get("multiprocessing.process")
    if util is None or process is None or process.parent_process() is None:
        return
    if os.getpid() not in _hooked:
        _hooked.add(os.getpid())

        def at_exit() -> None:
            _ending.add(os.getpid())
            function()

        util.Finalize(None, at_exit, exitpriority=0)


def at_celery_exit(function: Callable[[], object]) -> None:
    """Call a function when this process ends, where it is a child of Celery's prefork pool.

    Such a child ends with `os._exit` too, and not by way of `multiprocessing`. By then Sentry's
    Celery integration has flushed. Where this is called again, nothing is added.
    """
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(
            lambda **_: function(), weak=False, dispatch_uid="sentry_segment"
        )


class ExitBudget:
    """The seconds that flushing may still add to the process's exit.

    Sentry's exit hook flushes the current client, then our own flushes what is left of any other.
    All of them together get as long as one of them, so that a dead server delays the exit once.
    """

    def __init__(self) -> None:
        self._spent = 0.0

    def allow(self, timeout: float, exit_timeout: float) -> float:
        """How much of `timeout` a flush may take, where `exit_timeout` is allowed in all."""
        return max(0.0, min(timeout, exit_timeout - self._spent))

    @property
    def is_exhausted(self) -> bool:
        """Whether somebody has had enough."""
        return self._spent == math.inf

    def exhaust(self) -> None:
        """Let no flush wait any more."""
        self._spent = math.inf

    def spend(self, seconds: float) -> None:
        """Count the seconds that a flush took."""
        self._spent += seconds


exit_budget = PerProcess(ExitBudget)
