"""What has arrived: the last records, bounded in number and in bytes."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import islice
from typing import Any, Literal
from uuid import uuid4

from sentry_segment.inspector.objections import Told
from sentry_segment.inspector.summary import Summary

MAX_RECORDS = 10_000
MAX_BYTES = 200_000_000  # Sentry's events may be large
_MAX_CHUNK_RECORDS = 1_000
_MAX_CHUNK_BYTES = 2_000_000
_RECORD_BYTES = 1_500  # what a record takes beside its payload, about

Listener = Callable[[Sequence["Record"]], None]


@dataclass(frozen=True)
class Record:
    """One Segment message or Sentry event, or a request in which none could be found."""

    side: Literal["segment", "sentry"]
    path: str
    status: int
    """What it was answered with."""
    bytes: int
    id: str | None = None
    """The event id, by which the two sides are joined: Segment's `messageId`."""
    write_key: str | None = None
    """Masked."""
    objections: tuple[Told, ...] = ()
    summary: Summary = field(default_factory=Summary)
    text: str = "null"
    """The payload as JSON. As objects, it would take several times the memory."""
    number: int = 0
    """Given by the store, in the order of arrival, from 1 on."""
    arrived: str = ""
    """Given by the store, where it is not imported with one: ISO 8601, in UTC."""

    @property
    def payload(self) -> Any:
        return json.loads(self.text)

    def head(self) -> dict[str, Any]:
        """All but the payload."""
        return {
            "number": self.number,
            "side": self.side,
            "arrived": self.arrived,
            "id": self.id,
            "path": self.path,
            "status": self.status,
            "write_key": self.write_key,
            "bytes": self.bytes,
            "objections": [{"rank": each.rank, "text": each} for each in self.objections],
            "summary": self.summary,
        }

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return sys.getsizeof(self.text) + _RECORD_BYTES


class Store:
    """The last records. All of it may be used from any thread."""

    def __init__(self, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES) -> None:
        self.id = uuid4().hex[:8]
        """Tells a page that was connected to another store that the numbers start again."""
        self.closed = False
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._records: deque[Record] = deque()
        self._size = 0
        self._last = 0
        self._taken: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._listeners: list[Listener] = []

    @property
    def records(self) -> list[Record]:
        """All that are kept, in the order of arrival."""
        with self._changed:
            return list(self._records)

    @property
    def oldest(self) -> int:
        """The number of the oldest record that is kept; where there is none, of the next."""
        with self._changed:
            return self._records[0].number if self._records else self._last + 1

    @property
    def others(self) -> dict[str, int]:
        """What Sentry's side was sent beside events: how many of each type."""
        with self._changed:
            return dict(self._others)

    def add(self, records: Iterable[Record], others: Iterable[str] = ()) -> None:
        """Keep records, numbered, and count the types of `others`. The oldest make room."""
        arrived = datetime.now(timezone.utc).isoformat(timespec="milliseconds")[:-6] + "Z"
        added = []
        with self._changed:
            for record in records:
                self._last += 1
                added.append(replace(record, number=self._last, arrived=record.arrived or arrived))
            for record in added:
                self._records.append(record)
                self._size += record.size
                if taken := _taken_id(record):
                    self._taken[taken] += 1
            while len(self._records) > self._max_records or self._size > self._max_bytes:
                self._drop_oldest()
            self._others.update(others)
        self._tell(added)

    def clear(self) -> None:
        """Forget all records. Numbers go on from where they are."""
        with self._changed:
            self._records.clear()
            self._taken.clear()
            self._others.clear()
            self._size = 0
        self._tell([])

    def after(self, number: int) -> list[Record]:
        """The records after this number: the first 1,000 of them, or fewer where they are large."""
        with self._changed:
            skipped = max(number + 1 - self.oldest, 0)
            chunk: list[Record] = []
            size = 0
            for record in islice(self._records, skipped, skipped + _MAX_CHUNK_RECORDS):
                size += record.size
                if chunk and size > _MAX_CHUNK_BYTES:
                    break
                chunk.append(record)
            return chunk

    def get(self, number: int) -> Record | None:
        """The record with this number, where it is kept."""
        with self._changed:
            place = number - self.oldest
            return self._records[place] if 0 <= place < len(self._records) else None

    def is_taken(self, message_id: str) -> bool:
        """Whether a Segment message with this id was taken, among those that are kept."""
        with self._changed:
            return message_id in self._taken

    def wait_for(self, predicate: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Wait until the predicate holds, asked at each arrival; whether it does in the end."""
        with self._changed:
            return self._changed.wait_for(predicate, timeout)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have the listener called with what is added, after it is; returns what ends that.

        It is called in the thread that adds, with no lock held. With no records, where they were
        cleared or the store is closed.
        """
        with self._changed:
            self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        """Nothing more is going to be added: those who listen and wait are told."""
        self.closed = True
        self._tell([])

    def _tell(self, added: Sequence[Record]) -> None:
        with self._changed:
            self._changed.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener(added)

    def _drop_oldest(self) -> None:
        record = self._records.popleft()
        self._size -= record.size
        if taken := _taken_id(record):
            self._taken[taken] -= 1
            if not self._taken[taken]:
                del self._taken[taken]


def _taken_id(record: Record) -> str | None:
    return record.id if record.side == "segment" and record.status == 200 else None
