"""The spool's file: opened, checked, shared with other processes, damaged, lost, and forked."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sentry_segment.guest.clock import monotonic
from sentry_segment.guest.foreign import from_signal_handler
from sentry_segment.guest.forks import PerProcess
from sentry_segment.guest.log import describe
from sentry_segment.spool.contract import SpoolError, SpoolLostError

APPLICATION_ID = 0x53656753  # "SegS": tells our files from other applications' databases
SCHEMA = 1
# Who wrote which messages, and who is to send them. To take over what another process has left is
# to take over its writer: one row, however many messages there are. Ids are never used twice
# (AUTOINCREMENT), not even where a file was lost and begun anew (they begin at random): so a
# process deletes nobody else's message, if it was stopped for a while, or has one on its way.
_TABLES = """
CREATE TABLE writers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    write_key TEXT NOT NULL,
    holder TEXT,
    expires REAL NOT NULL
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    writer INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX messages_of_writer ON messages (writer, id);
"""
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
                if not _is_locked(error) or monotonic() > deadline:
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
                raise _UnusableError(
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
        if type(error) is sqlite3.DatabaseError:  # and no subclass: malformed, or no database
            return self._set_aside(str(error))
        problem = describe(error)
        advice = "give spool the path of a file in a folder that this process may write to"
        if isinstance(error, _UnusableError):
            problem, advice = str(error), error.advice
        elif _has_no_room(error):
            advice = "make room on its disk"
        elif _is_locked(error):
            advice = "end the program that has locked it"
        elif os.path.isfile(self.path) and not os.access(self.path, os.R_OK | os.W_OK):
            advice = "it is another user's: give it to the one that runs this process"
        return SpoolError(f"The spool {self.path} can't be used ({problem}): {advice}")

    def _set_aside(self, problem: str) -> SpoolError:
        """Rename a damaged file, where it is our own and still the one that was opened."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = f"{self.path}.damaged-{stamp}-{os.getpid()}"
        try:
            if self._tried is None:
                return SpoolLostError(
                    f"The spool {self.path} was damaged ({problem}), and is replaced already"
                )
            if not _is_ours(self.path):
                return SpoolError(
                    f"The spool {self.path} can't be used ({problem}): it is no spool, and left as "
                    f"it is; give spool another path"
                )
            os.rename(self.path, aside)
            for suffix in ("-wal", "-shm"):
                if os.path.exists(self.path + suffix):
                    os.rename(self.path + suffix, aside + suffix)
        except OSError as error:
            return SpoolError(
                f"The spool {self.path} is damaged ({problem}) and can't be set aside "
                f"({describe(error)}): move it away"
            )
        self._in_use = None
        return SpoolLostError(
            f"The spool {self.path} is damaged ({problem}). It is kept as {aside}; a new one is "
            f"begun, and the messages in the old one are not sent"
        )


def _close_quietly(connection: Any) -> None:
    """Close a connection without writing back the log, where Python can ask for that (3.12)."""
    with suppress(sqlite3.Error):
        if _NO_CHECKPOINT_ON_CLOSE is not None:
            connection.setconfig(_NO_CHECKPOINT_ON_CLOSE)
        connection.close()


def _has_no_room(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.OperationalError) and "full" in str(error)


def _is_locked(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


class _UnusableError(sqlite3.OperationalError):
    """A database that this process is not to use."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.advice = advice


def _connect(path: str) -> sqlite3.Connection:
    # Not `sqlite3.connect`: observers wrap that, and would show our SQL as the application's.
    db = sqlite3.Connection(
        path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    """Check what kind of file it is, and make it a spool where it is empty."""
    db.execute("BEGIN")  # or another process may begin the file during the look at it
    is_new = not _has_format(db)
    db.execute("COMMIT")
    if is_new:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts before the first page is written
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise _UnusableError(
            "its file system can't share memory between processes", "choose one on a local disk"
        )
    # A commit outlives the process as it is; the machine, once SQLite has written it back.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA journal_size_limit = 4000000")  # after a large transaction
    db.execute("PRAGMA secure_delete = ON")  # it is users' data
    db.execute("BEGIN IMMEDIATE")
    if not _has_format(db):
        for statement in _TABLES.split(";"):
            db.execute(statement)
        for table in ("writers", "messages"):
            first = random.getrandbits(48)
            db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, first))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA}")
    db.execute("COMMIT")


def _has_format(db: sqlite3.Connection) -> bool:
    """Whether it is a spool already; raises where it is something else."""
    application, version = pragma(db, "application_id"), pragma(db, "user_version")
    if (application, version) == (APPLICATION_ID, SCHEMA):
        return True
    if application == APPLICATION_ID:
        raise _UnusableError(
            f"it has the format {version}, and this version of sentry-segment knows {SCHEMA}",
            "update sentry-segment, or give spool another path",
        )
    if application or version or db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        raise _UnusableError("it is a database of another application", "give spool another path")
    return False


def pragma(db: sqlite3.Connection, name: str) -> int:
    value: int = db.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode: which file it is that has this name now."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_ours(path: str) -> bool:
    """Whether a damaged file was a spool, by its header (https://www.sqlite.org/fileformat.html).

    A crash of the machine may leave zeros in the place of what was written last.
    """
    with open(path, "rb") as file:
        header = file.read(100)
    ours = b"SQLite format 3\0", struct.pack(">i", APPLICATION_ID)
    return (header[:16], header[68:72]) == ours or not header.strip(b"\0")


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
