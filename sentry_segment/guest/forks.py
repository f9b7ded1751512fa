"""What each process has for itself: one that was forked, by whatever means, begins anew."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


def is_before_fork_in_c() -> bool:
    """Whether this is uWSGI's process, of which it is yet to fork its workers.

    A thread that holds the interpreter's lock at the moment of such a fork holds it for ever in the
    child, which never gets to serve (https://github.com/unbit/uwsgi/issues/2387).
    """
    worker_id = getattr(sys.modules.get("uwsgi"), "worker_id", None)
    return worker_id is not None and bool(worker_id() == 0)


class OwnProcess:
    """The process that something was made in, and is for."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is still that process, and not one that was forked."""
        return os.getpid() == self._pid


class PerProcess(Generic[T]):
    """An object that a forked process does not share with its parent.

    `os.fork` calls Python's hooks, but servers fork in C as well (uWSGI): so it is by the process's
    id that each use finds out in which process it is. No lock is taken. It could be held by a
    thread of the parent, which the child does not have.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """This process's own, made when it is asked for first."""
        pid = os.getpid()
        made = self._made.get(pid)
        if made is None:
            # Atomic: of what two threads make, one stays.
            made = self._made.setdefault(pid, self._make())
            self._made = {pid: made}  # without the parent's, whose id may be used again
        return made

    def peek(self) -> T | None:
        """This process's own, if there is one by now."""
        return self._made.get(os.getpid())
