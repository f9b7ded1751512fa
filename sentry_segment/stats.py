"""Counters, and the snapshot of them that users see."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

# The words of Sentry's client reports (https://develop.sentry.dev/sdk/telemetry/client-reports/),
# and the name of our own hook beside Sentry's "before_send".
DropReason = Literal[
    "queue_overflow", "network_error", "send_error", "before_track", "internal_sdk_error"
]
DROP_REASONS: tuple[DropReason, ...] = (
    "queue_overflow",
    "network_error",
    "send_error",
    "before_track",
    "internal_sdk_error",
)


def _nothing_dropped() -> Mapping[str, int]:
    return MappingProxyType(dict.fromkeys(DROP_REASONS, 0))


@dataclass(frozen=True)
class Stats:
    """What became of the messages of one integration in this process so far.

    Attributes:
        mirrored: messages put into the queue.
        queued: messages in memory that wait or are under way.
        spooled: messages in the spool that this process is going to send.
        recovered: messages that this process took over from the spool, of others that have ended,
            or were stopped for longer than a lease. They count in `spooled`, then in `delivered`
            or `dropped`.
        delivered: messages that Segment took.
        requests: requests that were made.
        retries: requests that were made again.
        bytes_sent: bytes of their bodies, as they were sent: compressed with `gzip`.
        oldest_age: seconds that the oldest message waits which is in `queued` or `spooled`: since
            it was captured, or taken over. 0 where none does. What came while the thread waited
            (a backoff, say) counts from the end of that wait, or from when `stats` was read.
        last_delivery: when Segment took a message for the latest time, in seconds of Unix time;
            `None` where it has taken none.
        dropped: messages for each reason: `queue_overflow` (the queue or the spool was full),
            `before_track` (the hook dropped the message, raised, or returned something else than a
            message; or the tunnel's `user_id` raised), `send_error` (Segment refused the message
            for good, or failed at it each time, or it is too long),
            `network_error` (still waiting in memory when the process ended, or in a spool that
            was lost), `internal_sdk_error` (a fault of this library, or a message that has no JSON
            form).
        last_error: why the latest failed request failed, or a message could not be sent; it stays
            when later ones succeed.
    """

    mirrored: int = 0
    queued: int = 0
    spooled: int = 0
    recovered: int = 0
    delivered: int = 0
    requests: int = 0
    retries: int = 0
    bytes_sent: int = 0
    oldest_age: float = 0.0
    last_delivery: float | None = None
    dropped: Mapping[str, int] = field(default_factory=_nothing_dropped)
    last_error: str | None = None


class Counters:
    """Counts of one process, incremented from any thread.

    The lock is re-entrant: a signal handler that captures an error in the middle of a count must
    not wait for itself.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held over changes that belong together, those of the queue included."""
        self._dropped: dict[str, int] = dict.fromkeys(DROP_REASONS, 0)
        self.delivered = 0
        self.collected = 0
        """Messages that were never put, for a test has them (`sentry_segment.testing`)."""
        self.last_delivery: float | None = None
        self.retries = 0
        self.last_error: str | None = None

    def deliver(self, messages: int) -> None:
        with self.lock:
            self.delivered += messages
            self.last_delivery = time.time()

    def drop(self, reason: DropReason, messages: int = 1) -> None:
        with self.lock:
            self._dropped[reason] += messages

    def snapshot(self, mirrored: int, **others: Any) -> Stats:
        """Counted here, with what is counted elsewhere. To be called with the lock held."""
        return Stats(
            mirrored=mirrored + self.collected,
            delivered=self.delivered + self.collected,
            retries=self.retries,
            last_delivery=self.last_delivery,
            dropped=MappingProxyType(dict(self._dropped)),
            last_error=self.last_error,
            **others,
        )
