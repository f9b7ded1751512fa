"""The spool's file: opened when it is used, shared with other processes, lost, and forked."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sentry_segment.guest.clock import monotonic
from sentry_segment.guest.foreign import from_signal_handler
from sentry_segment.guest.forks import PerProcess
from sentry_segment.spool.contract import SpoolError, SpoolLostError
from sentry_segment.spool.sqlite_damage import failure, is_locked
from sentry_segment.spool.sqlite_schema import UnusableError, prepare

_NO_CHECKPOINT_ON_CLOSE: Any = getattr(sqlite3, "SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE", None)
_BUSY_TIMEOUT = 1.0  # seconds to wait for other processes' transactions, of milliseconds each

# SQLite takes a file's locks for the process and keeps a list of them in its memory. A child that
# has inherited an open connection believes to hold its parent's locks, whatever it opens itself,
# and in the end destroys the file (https://www.sqlite.org/howtocorrupt.html, section 2.6). So no
# connection is open while the process forks: this lock is held over every use of one. After a fork
# without hooks the child closes what it has inherited before it opens the file itself.
_lock = PerProcess(threading.RLock)
_connected: set[SpoolFile] = set()  # or about to be
_abandoned: list[object] = []  # connections that can't be closed without harm


class SpoolFile:
    """A SQLite file that is opened when it is used, and is not when the process forks.

    May be used from any thread: one at a time.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._pid = os.getpid()
        self._is_busy = False  # within `use`
        self._connection: sqlite3.Connection | None = None
        self._tried: tuple[int, int] | None = None  # the file that was opened last, or not quite
        self._in_use: tuple[int, int] | None = None  # the file that was

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """The connection. Whatever fails within the block is a `SpoolError`, and closes it."""
        with _lock.get():
            self._is_busy = True
            try:
                if self._in_use is not None and _identity(self.path) != self._in_use:
                    raise SpoolLostError(
                        f"The spool {self.path} was removed or replaced while it was in use, with "
                        f"the messages in it: leave it alone while a process uses it"
                    )
                if self._connection is None:
                    _connected.add(self)
                    self._connection = self._open()
                yield self._connection
            except BaseException as error:
                self._abandon()
                if isinstance(error, SpoolError) or not isinstance(error, Exception):
                    raise
                if from_signal_handler(error):
                    raise  # in a thread of the application's
                raise self._failure(error) from error
            finally:
                self._is_busy = False

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """As `use`, with the write lock, and a commit at the end of the block."""
        with self.use() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    def disconnect(self) -> None:
        """Close the connection. The next use opens another."""
        with _lock.get():
            connection, self._connection = self._connection, None
            _connected.discard(self)
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()

    def forget(self) -> None:
        """Disconnect, and let the next use be of whatever file is there then."""
        with _lock.get():
            self.disconnect()
            self._in_use = None

    def _open(self) -> sqlite3.Connection:
        self._close_inherited()
        try:
            # Readable by its owner alone, and so are the files that SQLite puts beside it.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            pass
        if not stat.S_ISREG(os.stat(self.path).st_mode):
            raise OSError("it is not a regular file")
        self._tried = _identity(self.path)
        deadline = monotonic() + _BUSY_TIMEOUT
        while True:
            try:
                db = _connect(self.path)
                break
            except sqlite3.OperationalError as error:
                # SQLite itself does not wait where several processes begin a file at once.
                if not is_locked(error) or monotonic() > deadline:
                    raise
            time.sleep(0.01)
        self._in_use = self._tried
        return db

    def _close_inherited(self) -> None:
        """Close what the parent had open of this file, when it forked without Python's hooks."""
        for file in list(_connected):
            if file._pid == self._pid or _identity(file.path) != _identity(self.path):
                continue
            if file._is_busy:
                # Whatever is done with it now might be done to what the parent is writing.
                raise UnusableError(
                    "this process was forked without Python's hooks in the midst of a write",
                    "have the server call them (uWSGI: py-call-uwsgi-fork-hooks = true)",
                )
            # Idle, it holds no lock that the system knows as this process's. It is the parent's own
            # lock that keeps SQLite from taking this for the last connection.
            connection, file._connection = file._connection, None
            _connected.discard(file)
            if connection is not None:
                _close_quietly(connection)

    def _abandon(self) -> None:
        """Close the connection after a failure, where that does no harm."""
        if _identity(self.path) == self._tried:
            self.disconnect()
            return
        self._in_use = self._tried = None
        connection: Any = self._connection
        self._connection = None
        _connected.discard(self)
        if connection is None:
            return
        # SQLite removes the write-ahead log with the file's last connection, and does so by name:
        # where there is a new file by now, that is the log of the new one.
        if _NO_CHECKPOINT_ON_CLOSE is None:  # before Python 3.12
            _abandoned.append(connection)
            return
        _close_quietly(connection)

    def _failure(self, error: Exception) -> SpoolError:
        failed = failure(error, self.path, is_current=self._tried is not None)
        if isinstance(failed, SpoolLostError):
            self._in_use = None
        return failed


def _close_quietly(connection: Any) -> None:
    """Close a connection without writing back the log, where Python can ask for that (3.12)."""
    with suppress(sqlite3.Error):
        if _NO_CHECKPOINT_ON_CLOSE is not None:
            connection.setconfig(_NO_CHECKPOINT_ON_CLOSE)
        connection.close()


def _connect(path: str) -> sqlite3.Connection:
    # Not `sqlite3.connect`: observers wrap that, and would show our SQL as the application's.
    db = sqlite3.Connection(
        path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode: which file it is that has this name now."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


# Fork


def _before_fork() -> None:
    _lock.get().acquire()
    for file in list(_connected):
        file.disconnect()


def _after_fork_in_parent() -> None:
    _lock.get().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
    )
