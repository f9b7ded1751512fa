"""What is not settled yet: the messages in memory, and those in the spool where there is one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sentry_segment.delivery.ages import Ages
from sentry_segment.delivery.encoded import Encoded
from sentry_segment.delivery.ledger import Ledger
from sentry_segment.delivery.memory import Memory
from sentry_segment.delivery.queue import MessageQueue
from sentry_segment.delivery.rate_limit import RateLimit
from sentry_segment.delivery.spooled import Spooled
from sentry_segment.guest.log import ProblemLog
from sentry_segment.mapping.message import NO_FURTHER, Secrets
from sentry_segment.spool.contract import Spool, Turn
from sentry_segment.stats import Counters


class Backlog:
    """Hands out messages in batches until they are settled, that is delivered or given up.

    With a spool, messages are written to it before they are handed out, and removed from it when
    they are settled. While it can't be used, they are handed out from memory.

    All but the properties is for one thread at a time. Times are those of `now`, in seconds.
    """

    def __init__(
        self,
        queue: MessageQueue,
        spool: Spool | None,
        counters: Counters,
        log: ProblemLog,
        now: Callable[[], float],
        secrets: Secrets = NO_FURTHER,
    ) -> None:
        self._queue = queue
        self._memory = Memory(queue, secrets, log)
        self._counters = counters
        self._now = now
        self._ages = Ages()
        self._ledger = Ledger()
        self._spooled: Spooled | None = None
        if spool is not None:
            self._spooled = Spooled(spool, self._memory, self._ledger, counters, log, now)

    @property
    def is_spooling(self) -> bool:
        """Whether messages are to go through the spool, if it can be used."""
        return self._spooled is not None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to hand out."""
        if not self._memory.is_empty:
            return False
        return self._spooled is None or not self._spooled.is_readable

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing can be written to the spool for the time being."""
        return self._spooled is not None and self._spooled.is_hopeless

    @property
    def has_looked(self) -> bool:
        """Whether it is known by now what there is in the spool."""
        return self._spooled is not None and self._spooled.has_looked

    @property
    def has_duties(self) -> bool:
        """Whether the spool has yet to be told of something that is settled."""
        return self._spooled is not None and self._spooled.has_duties

    @property
    def accepted(self) -> int:
        """Messages ever put in this process."""
        return self._queue.accepted

    @property
    def settled(self) -> int:
        """How many of those, from the first on, are settled; or fewer, for a while."""
        return self._ledger.settled

    @property
    def recovered(self) -> int:
        """Messages of other processes that this one has taken over."""
        return self._ledger.recovered

    @property
    def in_memory(self) -> int:
        """Messages that would be lost with this process."""
        return len(self._queue)

    @property
    def in_spool(self) -> int:
        """Messages in the spool that this process is going to send."""
        return self._ledger.in_spool

    def oldest_age(self) -> float:
        """Seconds that the oldest message has waited, as far as is known; 0 where none does."""
        with self._counters.lock:
            now, ledger = self._now(), self._ledger
            self._ages.note(self.accepted, ledger.settled, ledger.has_recovered, now)
            return self._ages.oldest(now)

    def tend_at(self) -> float:
        """The time at which `tend` is to be called again."""
        return math.inf if self._spooled is None else self._spooled.tend_at()

    def tend(self) -> None:
        """Write to the spool what waits in memory, and look after what is in it."""
        self.oldest_age()  # which is noted
        if self._spooled is not None:
            self._spooled.tend()

    def encode_ahead(self) -> None:
        """Use a wait to encode what is sent after it."""
        self._memory.encode_ahead()

    def take_batch(self) -> list[Encoded]:
        """The oldest messages that fit into one request; or one that has no JSON form."""
        batch = self._memory.take_unsendable()
        if not batch and self._spooled is not None:
            batch = self._spooled.read()
        # Where the spool takes it, what waits in memory is to be spooled first.
        if not batch and not self._spool_takes():
            batch = self._memory.take_batch()
        self._ledger.hand_out(batch)
        return batch

    def take_back(self, messages: list[Encoded]) -> list[Encoded]:
        """Have messages spooled that were handed out from memory, if that is possible now.

        Returns those that are to be kept by whoever has them.
        """
        if not self._spool_takes():
            return messages
        in_memory = [each for each in messages if each.row is None]
        self._memory.put_back(in_memory)
        self._ledger.take_back(in_memory)
        return [each for each in messages if each.row is not None]

    def turn(self, limit: RateLimit) -> Turn | None:
        """When the next request may be made, where the spool counts them for all who share it."""
        if self._spooled is None:
            return None
        return self._spooled.turn(limit.at_once, limit.spacing, limit.seconds)

    def remove(self, batch: Sequence[Encoded]) -> None:
        """Have the spool forget messages that were handed out. To be followed by `settle`."""
        if self._spooled is not None:
            self._spooled.delete(batch)

    def settle(self, batch: Sequence[Encoded]) -> None:
        """Count messages as settled. To be called with the lock of the counters held."""
        self._queue.let_go(sum(each.row is None for each in batch))
        self._ledger.settle(batch)

    def leave(self) -> None:
        """Leave what is in the spool to the next process, at once: this one ends."""
        if self._spooled is not None:
            self._spooled.leave()

    def has_leftovers(self) -> bool:
        """Whether there is something in the spool to be sent. For a worker without a thread."""
        return self._spooled is not None and self._spooled.has_leftovers()

    def close(self) -> None:
        """Close the spool. The next use opens it again."""
        if self._spooled is not None:
            self._spooled.close()

    def _spool_takes(self) -> bool:
        return self._spooled is not None and self._spooled.takes
