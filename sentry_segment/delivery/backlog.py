"""What is not settled yet: the messages in memory, and those in the spool where there is one."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sentry_segment.delivery.queue import MessageQueue
from sentry_segment.guest.log import ProblemLog, describe
from sentry_segment.mapping.encoding import EncodingError, encode
from sentry_segment.mapping.message import Draft, TrackMessage, parts_of, track_message
from sentry_segment.spool.contract import LEASE, Row, Spool, SpoolError, SpoolLostError
from sentry_segment.stats import Counters
from sentry_segment.wire.bodies import fits

_CHUNK = 500  # messages written to the spool in one transaction
_TEND_INTERVAL = LEASE / 3  # seconds
_SPOOL_RETRY = 10.0  # seconds for which the spool is left alone when it could not be used


class Encoded(NamedTuple):
    """A message on its way, with its JSON, or why it has none."""

    body: bytes = b""
    given: Draft | TrackMessage | None = None
    """As it was put; `None` where it was read from the spool."""
    row: Row | None = None
    error: EncodingError | None = None

    @property
    def message(self) -> TrackMessage:
        if isinstance(self.given, dict):
            return self.given
        if self.given is not None and not self.body:
            return track_message(parts_of(self.given))
        message: TrackMessage = json.loads(self.body)
        return message


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
    ) -> None:
        self._queue = queue
        self._spool = spool
        self._counters = counters
        self._log = log
        self._now = now
        # Taken from the queue, and older than what is in it: encoded, and yet to be.
        self._encoded: deque[Encoded] = deque()
        self._taken: deque[Draft | TrackMessage] = deque()
        self._settled = 0
        self._overtaking = 0  # messages settled before older ones that are in the spool
        self._recovered = 0
        # Own messages that are handed out, and those settled while older ones were.
        self._on_the_way = 0
        self._ahead = 0
        # Numbers of messages by writer: those in the spool that this process has to send, its own
        # and others'; of these, those that are handed out; and those that were handed out when
        # the writer was lost.
        self._held: dict[int, int] = {}
        self._handed_out: Counter[int] = Counter()
        self._adrift: Counter[int] = Counter()
        self._out: dict[int, int] = {}  # ids of the rows that are handed out, with their writers
        self._adrift_own: set[int] = set()  # which of the latter were this process's own
        self._own: int | None = None  # the writer that the own messages are added under
        self._lost_at = -math.inf
        self._undeleted: set[int] = set()  # settled, but the spool could not be told
        self._spool_again_at = -math.inf
        self._tend_at = -math.inf
        self._is_failing = False
        self._is_left = False

    @property
    def is_spooling(self) -> bool:
        """Whether messages are to go through the spool, if it can be used."""
        return self._spool is not None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to hand out."""
        return not (self._encoded or self._taken or self._queue.waiting or self._readable())

    @property
    def is_hopeless(self) -> bool:
        """Whether the spool can't be used for the time being."""
        return self._spool is not None and self._now() < self._spool_again_at

    @property
    def has_looked(self) -> bool:
        """Whether it is known by now what there is in the spool."""
        return self._tend_at != -math.inf

    @property
    def has_duties(self) -> bool:
        """Whether the spool has yet to be told of something that is settled."""
        return bool(self._undeleted)

    @property
    def accepted(self) -> int:
        """Messages ever put in this process."""
        return self._queue.accepted

    @property
    def settled(self) -> int:
        """How many of those, from the first on, are settled; or fewer, for a while.

        Messages in memory may overtake those in the spool, while that can't be used or is full, and
        any message may overtake one that Segment fails at: they do not count before these are
        settled as well.
        """
        ahead = self._ahead if self._on_the_way else 0
        return self._settled - max(ahead, self._overtaking if self._holds_own() else 0)

    @property
    def recovered(self) -> int:
        """Messages of other processes that this one has taken over."""
        return self._recovered

    @property
    def in_memory(self) -> int:
        """Messages that would be lost with this process."""
        return len(self._queue)

    @property
    def in_spool(self) -> int:
        """Messages in the spool that this process is going to send."""
        return sum(list(self._held.values())) + sum(list(self._adrift.values()))

    def tend_at(self) -> float:
        """The time at which `tend` is to be called again."""
        if self._spool is None or self._is_left:
            return math.inf
        return max(self._tend_at, self._spool_again_at)

    def tend(self) -> None:
        """Write to the spool what waits in memory, and look after what is in it."""
        if self._spool is None or self._is_left or self._now() < self._spool_again_at:
            return
        try:
            self._delete_settled(self._spool)
            if self._now() >= self._tend_at:
                self._tend_at = self._now() + _TEND_INTERVAL
                self._tend_leases(self._spool)
            self._write(self._spool)
            self._is_failing = False
        except SpoolError as error:
            self._failed(error)

    def take_batch(self) -> list[Encoded]:
        """The oldest messages that fit into one request; or one that has no JSON form."""
        if self._encoded and self._encoded[0].error is not None:
            return self._hand_out([self._encoded.popleft()])
        if self._readable() and self._spool is not None:
            try:
                taken = [*self._out, *self._undeleted]
                rows = self._spool.read(self._writers(), without=taken)
                if rows:
                    return self._hand_out([Encoded(row.body, row=row) for row in rows])
                with self._counters.lock:
                    self._lose(list(self._held))  # somebody has removed them
            except SpoolError as error:
                self._failed(error)
        if self._spool_works():
            return []  # what waits in memory is to be spooled first
        return self._hand_out(self._take_from_memory())

    def _hand_out(self, messages: list[Encoded]) -> list[Encoded]:
        for each in messages:
            row = each.row
            if row is not None:
                self._out[row.id] = row.writer
                self._handed_out[row.writer] += 1
            self._on_the_way += row is None or row.writer == self._own
        return messages

    def take_back(self, messages: list[Encoded]) -> list[Encoded]:
        """Have messages spooled that were handed out from memory, if that is possible now.

        Returns those that are to be kept by whoever has them.
        """
        if not self._spool_works():
            return messages
        in_memory = [each for each in messages if each.row is None]
        self._encoded.extendleft(reversed(in_memory))
        self._on_the_way -= len(in_memory)
        return [each for each in messages if each.row is not None]

    def remove(self, batch: Sequence[Encoded]) -> None:
        """Have the spool forget messages that were handed out. To be followed by `settle`."""
        ids = [each.row.id for each in batch if each.row is not None]
        if not ids or self._spool is None:
            return
        try:
            self._spool.delete(ids)
        except SpoolError as error:
            self._failed(error)
            if not isinstance(error, SpoolLostError):
                self._undeleted.update(ids)

    def settle(self, batch: Sequence[Encoded]) -> None:
        """Count messages as settled. To be called with the lock of the counters held."""
        writers = Counter(each.row.writer for each in batch if each.row is not None)
        own = in_memory = len(batch) - writers.total()
        self._queue.let_go(in_memory)
        self._settle_from_memory(in_memory)
        for each in batch:
            if each.row is not None:
                self._out.pop(each.row.id, None)
        for writer, messages in writers.items():
            adrift = min(messages, self._adrift[writer])
            self._adrift[writer] -= adrift
            is_own = writer in self._adrift_own if adrift else writer == self._own
            if messages > adrift:
                self._held[writer] -= messages - adrift
                self._handed_out[writer] -= messages - adrift
            if is_own:
                self._settled += messages
                own += messages
        self._on_the_way -= own
        self._ahead = self._ahead + own if self._on_the_way else 0
        if not self._holds_own():
            self._overtaking = 0

    def leave(self) -> None:
        """Leave what is in the spool to the next process, at once: this one ends."""
        self._is_left = True
        if self._spool is None or self.is_hopeless or not (self._held or self._undeleted):
            return  # a lease lapses by itself
        try:
            self._delete_settled(self._spool)
            self._spool.release()
            self._spool.disconnect()
        except SpoolError as error:
            self._failed(error)

    def has_leftovers(self) -> bool:
        """Whether there is something in the spool to be sent. For a worker without a thread."""
        try:
            found = self._spool is not None and self._spool.has_messages()
            self.close()
        except SpoolError as error:
            self._failed(error)
            return False
        return found

    def close(self) -> None:
        """Close the spool's file. The next use opens it again."""
        if self._spool is None:
            return
        if any(self._held.values()) or self._undeleted:
            self._spool.disconnect()
            return
        with self._counters.lock:
            self._held.clear()
            self._own = None
        self._spool.close()

    def _settle_from_memory(self, messages: int) -> None:
        self._settled += messages
        self._overtaking += messages

    # The spool

    def _holds_own(self) -> bool:
        return self._own is not None and self._held.get(self._own, 0) > 0

    def _writers(self) -> list[int]:
        return [writer for writer, messages in self._held.items() if messages]

    def _spool_works(self) -> bool:
        return self._spool is not None and not self._is_left and self._now() >= self._spool_again_at

    def _readable(self) -> bool:
        held = self._held.items()
        return self._spool_works() and any(n > self._handed_out[writer] for writer, n in held)

    def _delete_settled(self, spool: Spool) -> None:
        if self._undeleted:
            spool.delete(self._undeleted)
            self._undeleted.clear()

    def _write(self, spool: Spool) -> None:
        """Move what waits in memory now to the spool."""
        for _ in range((len(self._taken) + self._queue.waiting) // _CHUNK + 1):
            self.encode_ahead()
            chunk = [each for each in self._encoded if each.error is None]
            if not chunk:
                return
            added = spool.add([each.body for each in chunk])
            writer = spool.writer
            assert writer is not None  # since the call of `add`
            with self._counters.lock:
                self._encoded = deque(each for each in self._encoded if each.error is not None)
                self._queue.let_go(len(chunk))
                if writer != self._own:
                    self._begin_writer(writer)
                self._held[writer] += added
                dropped = len(chunk) - added
                self._settle_from_memory(dropped)
                self._counters.drop("queue_overflow", dropped)
            if dropped:
                self._log.warn(
                    "overflow",
                    f"The spool {spool.place} is full (spool_max_bytes): new messages are dropped "
                    f"until Segment takes some of those that wait",
                )

    def _tend_leases(self, spool: Spool) -> None:
        claimed, lost = spool.tend(self._writers())
        with self._counters.lock:
            self._lose(lost)
            for writer, messages in claimed.items():
                self._held[writer] = messages
                self._recovered += messages

    def _begin_writer(self, writer: int) -> None:
        if self._own is not None:
            self._lose([self._own])
        self._own = writer
        self._held[writer] = 0

    def _lose(self, writers: Collection[int]) -> int:
        """Messages are no longer for this process to send, but for those on their way.

        Returns how many of them were its own. To be called with the lock of the counters held.
        """
        own = 0
        for writer in writers:
            on_their_way = self._handed_out.pop(writer, 0)
            self._adrift[writer] += on_their_way
            # Where the writer can be claimed back, they are handed out once more.
            self._out = {row: of for row, of in self._out.items() if of != writer}
            messages = self._held.pop(writer, 0) - on_their_way
            if writer != self._own:
                self._recovered -= messages
                continue
            self._settled += messages
            own += messages
            self._adrift_own.add(writer)
            self._own = None
            if self._spool is not None and self._spool.writer == writer:
                # Never used again, even where it can be claimed back: then it is as another's.
                self._spool.writer = None
        return own

    def _failed(self, error: SpoolError) -> None:
        if isinstance(error, SpoolLostError):
            with self._counters.lock:
                self._counters.drop("network_error", self._lose(list(self._held)))
            self._undeleted.clear()
            self._log.warn("spool lost", str(error))
            was_lost_at, self._lost_at = self._lost_at, self._now()
            if self._lost_at - was_lost_at >= _SPOOL_RETRY:
                self._tend_at = -math.inf  # a new file can be begun at once
                return
        self._spool_again_at = self._tend_at = self._now() + _SPOOL_RETRY
        if not self._is_failing:
            self._is_failing = True
            self._log.warn("spool", f"{error}. Until it can be used, messages wait in memory alone")

    # Memory

    def encode_ahead(self) -> None:
        """Use a wait to encode what is sent after it."""
        while len(self._encoded) < _CHUNK and self._encode_next():
            pass

    def _encode_next(self) -> bool:
        """Encode the oldest message that is not yet; False where there is none."""
        if not self._taken:
            self._queue.take(_CHUNK, self._taken)
            if not self._taken:
                return False
        message = self._taken.popleft()
        try:
            self._encoded.append(Encoded(encode(message), message))
        except EncodingError as error:
            self._encoded.append(Encoded(given=message, error=error))
        except BaseException as error:
            # The message's own objects may raise anything, and must not end the thread. In
            # the main thread it may be a signal handler's: there it travels on.
            failed = EncodingError(f"the message has no JSON form: {describe(error)}")
            self._encoded.append(Encoded(given=message, error=failed))
            if threading.current_thread() is threading.main_thread():
                raise
        return True

    def _take_from_memory(self) -> list[Encoded]:
        batch: list[Encoded] = []
        size = 0
        while self._encoded or self._encode_next():
            first = self._encoded[0]
            size += len(first.body)
            # A message that has no JSON form is handed out alone.
            if batch and (first.error is not None or not fits(len(batch) + 1, size)):
                break
            batch.append(self._encoded.popleft())
            if first.error is not None:
                break
        return batch
