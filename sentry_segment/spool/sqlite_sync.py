"""What was committed is flushed through to the disk: soon, by a thread of its own, and together."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from sentry_segment.guest.silence import outside_any_request

SYNC_AFTER = 0.5
"""Seconds from a commit until it is flushed, with all that were made meanwhile."""

# Of the data and what is needed to read it, where the system tells the two apart.
_flush = getattr(os, "fdatasync", os.fsync)
_open: set[int] = set()  # descriptors, which a forked child has a copy of


class Sync:
    """Flushes a SQLite file's write-ahead log, so that little is lost with the machine.

    SQLite itself does so with each commit, which would take longer than all the rest, or (as it is
    told here, by `synchronous = NORMAL`) when it writes the log back, which may be long after. Any
    descriptor of the log will do, and none holds a lock that closing it would end: SQLite locks
    the database and the `-shm` file alone (https://www.sqlite.org/howtocorrupt.html, 2.2, and
    https://www.sqlite.org/walformat.html, 2.3). The log's entry in its folder is flushed by SQLite
    when it begins one.

    A flush may take seconds, on a disk that is busy. So nobody waits for it, and no lock is held.
    """

    def __init__(self, path: str) -> None:
        self._log = path + "-wal"
        self._lock = threading.RLock()  # over the two, for an instant
        self._is_due = False  # something was committed since the latest flush began
        self._is_running = False  # the thread

    def committed(self) -> None:
        """Have what was committed by now flushed."""
        with self._lock:
            self._is_due = True
            if self._is_running:
                return
            self._is_running = True
        thread = threading.Thread(target=self._run, name="sentry-segment sync", daemon=True)
        try:
            outside_any_request(thread.start)
        except RuntimeError:  # the interpreter shuts down: SQLite flushes when the file is closed
            self._is_running = False

    def _run(self) -> None:
        while self._goes_on():
            time.sleep(SYNC_AFTER)
            self._is_due = False  # what is committed from now on needs another flush
            _flush_log(self._log)

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_running = self._is_due
            return self._is_running


def _flush_log(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return  # SQLite has written it back, flushed, and removed it
    _open.add(descriptor)
    try:
        _aside(_flush, descriptor)
    except OSError:
        pass  # a broken disk, which SQLite's next flush finds, and says
    finally:
        if descriptor in _open:  # and this is not a greenlet in a forked child
            _open.discard(descriptor)
            os.close(descriptor)


def _aside(flush: Callable[[int], None], descriptor: int) -> None:
    """Have other greenlets go on, where a thread is one of them."""
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        sys.modules["gevent"].get_hub().threadpool.apply(flush, (descriptor,))
    else:
        flush(descriptor)


def _close_inherited() -> None:
    while _open:
        os.close(_open.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
