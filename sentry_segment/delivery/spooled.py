"""The spool in use: written to, read and cleared, and left alone while it can't be used."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from sentry_segment.delivery.availability import Availability
from sentry_segment.delivery.encoded import Encoded
from sentry_segment.delivery.ledger import Ledger
from sentry_segment.delivery.memory import CHUNK, Memory
from sentry_segment.guest.log import ProblemLog
from sentry_segment.spool.contract import (
    LEASE,
    Spool,
    SpoolError,
    SpoolFullError,
    SpoolLostError,
    Turn,
)
from sentry_segment.stats import Counters

_TEND_INTERVAL = LEASE / 3  # seconds


class Spooled:
    """Moves what waits in memory to the spool, and keeps account of what is there.

    A `SpoolError` is logged, and the spool left alone for a while.
    """

    def __init__(
        self,
        spool: Spool,
        memory: Memory,
        ledger: Ledger,
        counters: Counters,
        log: ProblemLog,
        now: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._memory = memory
        self._ledger = ledger
        self._counters = counters
        self._log = log
        self._now = now
        self._undeleted: set[int] = set()  # settled, but the spool could not be told
        self._tend_at = -math.inf
        self._availability = Availability(log, now)
        self._is_left = False

    @property
    def works(self) -> bool:
        """Whether the spool is to be used now."""
        return not self._is_left and self._availability.is_usable

    @property
    def takes(self) -> bool:
        """Whether messages are to be written to it now."""
        return self.works and self._availability.has_room

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing can be written to it for the time being."""
        return not self._availability.has_room

    @property
    def is_readable(self) -> bool:
        """Whether there is something to hand out from it now."""
        return self.works and self._ledger.has_unread

    @property
    def has_looked(self) -> bool:
        """Whether it is known by now what there is in the spool."""
        return self._tend_at != -math.inf

    @property
    def has_duties(self) -> bool:
        """Whether the spool has yet to be told of something that is settled."""
        return bool(self._undeleted)

    def tend_at(self) -> float:
        """The time at which `tend` is to be called again."""
        return math.inf if self._is_left else max(self._tend_at, self._availability.again_at)

    def tend(self) -> None:
        """Write to the spool what waits in memory, and look after what is in it."""
        if not self.works:
            return
        try:
            self._delete_settled()
            if self._now() >= self._tend_at:
                self._tend_at = self._now() + _TEND_INTERVAL
                self._tend_leases()
            if self.takes:
                self._write()
                self._availability.works()
        except SpoolFullError as error:
            self._availability.has_no_room(error)
        except SpoolError as error:
            self._failed(error)

    def read(self) -> list[Encoded]:
        """The oldest messages that fit into one request, of those that are not handed out."""
        if not self.is_readable:
            return []
        ledger = self._ledger
        try:
            taken = [*ledger.out, *self._undeleted]
            rows = self._spool.read(ledger.writers, without=taken)
            if not rows:
                with self._counters.lock:
                    self._lose(ledger.all_writers)  # somebody has removed them
        except SpoolError as error:
            self._failed(error)
            return []
        return [Encoded(row.body, row=row, is_own=ledger.is_own(row.writer)) for row in rows]

    def delete(self, batch: Sequence[Encoded]) -> None:
        """Have the spool forget messages that were handed out."""
        ids = [each.row.id for each in batch if each.row is not None]
        if not ids:
            return
        try:
            self._spool.delete(ids)
        except SpoolError as error:
            self._failed(error)
            if not isinstance(error, SpoolLostError):
                self._undeleted.update(ids)

    def turn(self, at_once: int, spacing: float, seconds: float) -> Turn | None:
        """When the next request may be made, where the spool counts them for all who share it."""
        if not self.works:
            return None
        try:
            return self._spool.turn(at_once, spacing, seconds)
        except SpoolError as error:
            self._failed(error)
            return None

    def leave(self) -> None:
        """Leave what is in the spool to the next process, at once: this one ends."""
        self._is_left = True
        if not self._availability.is_usable or not (self._ledger.all_writers or self._undeleted):
            return  # a lease lapses by itself
        try:
            self._delete_settled()
            self._spool.release()
            self._spool.disconnect()
        except SpoolError as error:
            self._failed(error)

    def has_leftovers(self) -> bool:
        """Whether there is something in the spool to be sent. For a worker without a thread."""
        try:
            found = self._spool.has_messages()
            self.close()
        except SpoolError as error:
            self._failed(error)
            return False
        return found

    def close(self) -> None:
        """Close the spool. The next use opens it again."""
        if self._ledger.writers or self._undeleted:
            self._spool.disconnect()
            return
        with self._counters.lock:
            self._ledger.forget_writers()
        self._spool.close()

    def _delete_settled(self) -> None:
        if self._undeleted:
            self._spool.delete(self._undeleted)
            self._undeleted.clear()

    def _tend_leases(self) -> None:
        claimed, lost = self._spool.tend(self._ledger.writers)
        # The own one, too: what came with a call whose answer got lost is settled from memory.
        own = {writer for writer in claimed if self._ledger.is_own(writer)}
        with self._counters.lock:
            self._lose(lost | own)
            self._ledger.claim(claimed)

    def _write(self) -> None:
        """Move what waits in memory now to the spool."""
        for _ in range(self._memory.unencoded // CHUNK + 1):
            self._memory.encode_ahead()
            chunk = self._memory.sendable()
            if not chunk:
                return
            added = self._spool.add([each.body for each in chunk])
            writer = self._spool.writer
            assert writer is not None  # since the call of `add`
            dropped = len(chunk) - added
            with self._counters.lock:
                self._memory.let_go_sendable()
                self._ledger.spool(writer, added, dropped)
                self._counters.drop("queue_overflow", dropped)
            if dropped:
                self._log.warn(
                    "overflow",
                    f"The spool {self._spool.place} is full (spool_max_bytes): new messages are "
                    f"dropped until Segment takes some of those that wait",
                )

    def _lose(self, writers: Collection[int]) -> int:
        """Messages are no longer for this process to send, but for those on their way.

        Returns how many of them were its own. To be called with the lock of the counters held.
        """
        own = self._ledger.lose(writers)
        if self._spool.writer in writers:
            # Never used again, even where it can be claimed back: then it is as another's.
            self._spool.writer = None
        return own

    def _failed(self, error: SpoolError) -> None:
        if isinstance(error, SpoolLostError):
            with self._counters.lock:
                own = self._lose(self._ledger.all_writers)
                self._counters.drop("network_error", own)
            self._undeleted.clear()
            if self._availability.lost(error):
                self._tend_at = -math.inf
                return
        self._availability.failed(error)
        self._tend_at = self._availability.again_at
