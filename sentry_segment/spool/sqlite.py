"""The queue on disk: a SQLite file that several processes share and that outlives them."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import closing

from sentry_segment.guest.clock import monotonic
from sentry_segment.spool.contract import LEASE, Row, Spool, Waiting
from sentry_segment.spool.sqlite_file import SpoolFile
from sentry_segment.spool.sqlite_schema import pragma
from sentry_segment.spool.sqlite_sync import Sync
from sentry_segment.wire.bodies import fits

# By the clock that all processes of a machine share, and that nobody sets. A lease that runs for
# longer than one can was given before the machine was started.
_LAPSED = "(holder IS NULL OR expires <= :now OR expires > :now + :lease + 1)"

_SPARE_PAGES = 8  # what an insert may need besides the message: the index and inner pages
_VACUUM_PAGES = 256  # so many free pages, about 1 MB, are given back


class SqliteSpool(Spool):
    """The spool in a file, for the processes of one machine.

    See `Spool` for what its methods do. `max_bytes` is the size up to which the file grows, and
    `now` a clock that all its users share, in seconds.
    """

    def __init__(
        self, path: str, max_bytes: int, write_key: str, now: Callable[[], float] = monotonic
    ) -> None:
        self.place = path
        self.writer: int | None = None
        self._file = SpoolFile(path)
        self._sync = Sync(path)
        self._max_bytes = max_bytes
        # Not the key itself: the file is to be of no use to whoever reads it.
        self._write_key = hashlib.sha256(write_key.encode("utf-8", "replace")).hexdigest()
        self._now = now
        self._holder = uuid.uuid4().hex

    def add(self, bodies: Sequence[bytes]) -> int:
        """Append messages; returns how many of them, from the first on, had room in the file."""
        insert = "INSERT INTO messages (writer, body) VALUES (?, ?)"
        added = 0
        with self._file.transaction() as db:
            self._renew_or_begin_writer(db)
            at_most = sum(map(len, bodies)) + len(bodies) * pragma(db, "page_size")
            if self._used_bytes(db) + at_most <= self._max_bytes:
                db.executemany(insert, [(self.writer, body) for body in bodies])
                added = len(bodies)
            else:
                for body in bodies:
                    if self._used_bytes(db) + len(body) > self._max_bytes:
                        break
                    db.execute(insert, (self.writer, body))
                    added += 1
        self._sync.committed()
        return added

    def read(self, writers: Collection[int], without: Collection[int]) -> list[Row]:
        """The oldest messages of these writers that fit into one batch, but for some by id."""
        rows: list[Row] = []
        left_out = frozenset(without)
        size = 0
        with self._file.use() as db:
            for writer in sorted(writers):
                query = "SELECT id, body FROM messages WHERE writer = ? ORDER BY id"
                with closing(db.execute(query, (writer,))) as cursor:
                    for number, body in cursor:
                        if number in left_out:
                            continue
                        size += len(body)
                        if rows and not fits(len(rows) + 1, size):
                            return rows
                        rows.append(Row(number, writer, body))
        return rows

    def delete(self, ids: Collection[int]) -> None:
        """Remove messages, whoever holds them by now."""
        first, last = min(ids), max(ids)
        with self._file.transaction() as db:
            if last - first + 1 == len(ids):  # as a rule; it takes half the time
                db.execute("DELETE FROM messages WHERE id BETWEEN ? AND ?", (first, last))
            else:
                db.executemany("DELETE FROM messages WHERE id = ?", [(number,) for number in ids])

    def tend(self, writers: Collection[int]) -> tuple[dict[int, int], set[int]]:
        """Renew the lease of these writers, and claim others whose lease has lapsed.

        Returns the number of messages of each writer that was claimed, and those of `writers` that
        another process has claimed meanwhile.
        """
        with self._file.use() as db:
            parameters = {"now": self._now(), "key": self._write_key, "lease": LEASE}
            lapsed = f"SELECT id FROM writers WHERE write_key = :key AND {_LAPSED}"
            if not writers and db.execute(lapsed, parameters).fetchone() is None:
                self._give_back_pages(db)
                return {}, set()
        with self._file.transaction() as db:
            lost = {writer for writer in writers if not self._renew(db, writer)}
            claimed = {}
            for (writer,) in db.execute(lapsed, parameters).fetchall():
                count = "SELECT COUNT(*) FROM messages WHERE writer = ?"
                messages = db.execute(count, (writer,)).fetchone()[0]
                if messages:
                    db.execute("UPDATE writers SET holder = ? WHERE id = ?", (self._holder, writer))
                    self._renew(db, writer)
                    claimed[writer] = messages
                else:
                    db.execute("DELETE FROM writers WHERE id = ?", (writer,))
        return claimed, lost

    def release(self) -> None:
        """Leave what this worker holds to the others, at once."""
        with self._file.transaction() as db:
            db.execute("UPDATE writers SET holder = NULL WHERE holder = ?", (self._holder,))

    def has_messages(self) -> bool:
        """Whether there are messages for the write key, whoever holds them. Creates no file."""
        if not os.path.exists(self.place):
            return False
        with self._file.use() as db:
            query = "SELECT EXISTS (SELECT 1 FROM messages JOIN writers ON writers.id = writer"
            found = db.execute(query + " WHERE write_key = ?)", (self._write_key,)).fetchone()[0]
        return bool(found)

    def survey(self) -> list[Waiting] | None:
        """All writers with messages, for every write key. `None` where there is no file."""
        if not os.path.exists(self.place):
            return None
        query = f"""
            SELECT writers.id, write_key = :key, COUNT(*), SUM(LENGTH(body)), body,
                CASE WHEN {_LAPSED} THEN 0.0 ELSE expires - :now END,
                holder IS :holder, MIN(messages.id)
            FROM writers JOIN messages ON writer = writers.id
            GROUP BY writers.id ORDER BY writers.id
        """  # the body is that of the row with the minimum: sqlite.org/lang_select.html#bareagg
        parameters = {"key": self._write_key, "now": self._now(), "lease": LEASE}
        parameters["holder"] = self._holder
        with self._file.use() as db:
            rows = db.execute(query, parameters).fetchall()
        return [
            Waiting(writer, bool(is_ours), messages, size, oldest, lease, bool(is_own))
            for writer, is_ours, messages, size, oldest, lease, is_own, _ in rows
        ]

    def turn(self, at_once: int, spacing: float, stretch: float) -> None:
        """No account is kept: the processes of one machine are few."""

    def disconnect(self) -> None:
        """Close the file. The next use opens it again."""
        self._file.disconnect()

    def close(self) -> None:
        """Close the file, where this worker holds nothing in it. The next use begins anew."""
        self._file.forget()
        self.writer = None

    # The writers

    def _renew_or_begin_writer(self, db: sqlite3.Connection) -> None:
        if self.writer is None or not self._renew(db, self.writer):
            self.writer = db.execute(
                "INSERT INTO writers (write_key, holder, expires) VALUES (?, ?, ?)",
                (self._write_key, self._holder, self._now() + LEASE),
            ).lastrowid

    def _renew(self, db: sqlite3.Connection, writer: int) -> bool:
        parameters = (self._now() + LEASE, writer, self._holder)
        query = "UPDATE writers SET expires = ? WHERE id = ? AND holder = ?"
        return db.execute(query, parameters).rowcount > 0

    # Room

    def _used_bytes(self, db: sqlite3.Connection) -> int:
        pages = pragma(db, "page_count") - pragma(db, "freelist_count") + _SPARE_PAGES
        return pages * pragma(db, "page_size")

    def _give_back_pages(self, db: sqlite3.Connection) -> None:
        free = pragma(db, "freelist_count")
        if free > _VACUUM_PAGES:
            # In parts, so that the log does not grow for it. As scripts: before Python 3.12 other
            # calls take one step, and free one page.
            for _ in range(free // _VACUUM_PAGES + 1):
                db.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
