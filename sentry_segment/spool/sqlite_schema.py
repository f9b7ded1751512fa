"""What is in the spool's file: its tables, and how it says whose and of what format it is."""

from __future__ import annotations

import random
import sqlite3
import struct

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


class UnusableError(sqlite3.OperationalError):
    """A database that this process is not to use."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.advice = advice


def prepare(db: sqlite3.Connection) -> None:
    """Check what kind of file it is, and make it a spool where it is empty."""
    db.execute("BEGIN")  # or another process may begin the file during the look at it
    is_new = not _has_format(db)
    db.execute("COMMIT")
    if is_new:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts before the first page is written
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise UnusableError(
            "its file system can't share memory between processes", "choose one on a local disk"
        )
    # A commit outlives the process as it is; the machine, once it is flushed (`sync.py`).
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
        raise UnusableError(
            f"it has the format {version}, and this version of sentry-segment knows {SCHEMA}",
            "update sentry-segment, or give spool another path",
        )
    if application or version or db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        raise UnusableError("it is a database of another application", "give spool another path")
    return False


def pragma(db: sqlite3.Connection, name: str) -> int:
    value: int = db.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def was_spool(path: str) -> bool:
    """Whether a damaged file was a spool, by its header (https://www.sqlite.org/fileformat.html).

    A crash of the machine may leave zeros in the place of what was written last.
    """
    with open(path, "rb") as file:
        header = file.read(100)
    ours = b"SQLite format 3\0", struct.pack(">i", APPLICATION_ID)
    return (header[:16], header[68:72]) == ours or not header.strip(b"\0")
