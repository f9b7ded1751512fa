"""What is sent next, when, and what follows from the answer. No threads, no clock of its own."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from sentry_segment.delivery.backlog import Backlog
from sentry_segment.delivery.batches import Batch, Batches
from sentry_segment.delivery.encoded import Encoded
from sentry_segment.delivery.rate_limit import RateLimit
from sentry_segment.guest.foreign import from_signal_handler
from sentry_segment.guest.log import ProblemLog, describe
from sentry_segment.mapping.encoding import EncodingError, MessageTooLongError
from sentry_segment.options import Options
from sentry_segment.stats import Counters, DropReason
from sentry_segment.wire.verdict import DeliveryError, Outcome, Verdict, backoff, refusal


@dataclass(frozen=True)
class Request:
    """What is to be sent now."""

    messages: list[bytes]
    retry_count: int


class Delivery:
    """Says which request is to be made, one at a time, and acts on its verdict.

    Times are seconds of the monotonic clock `now`. Messages are sent in their order, unless one of
    them holds up the others (`Batches`).
    """

    def __init__(
        self,
        backlog: Backlog,
        options: Options,
        counters: Counters,
        log: ProblemLog,
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._backlog = backlog
        self._options = options
        self._counters = counters
        self._log = log
        self._rate_limit = RateLimit(*options.rate_limit)
        self._batches = Batches(backlog)
        self._under_way: Batch | None = None
        self._turn_at = 0.0  # among all who share the spool
        self._has_turn = False
        self._hold_until = 0.0
        self._hold_is_ordered = False  # by a Retry-After, rather than by our own backoff

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to send."""
        return self._batches.is_empty

    @property
    def has_only_aside(self) -> bool:
        """Whether there is nothing to send but what others would not have to wait for."""
        return self._batches.has_only_aside

    @property
    def is_failing(self) -> bool:
        """Whether the latest request is to be made again."""
        return self._batches.failing > 0

    def ready_at(self) -> float:
        """The time from which the next request may be made."""
        own = max(self._hold_until, self._rate_limit.ready_at(), self._batches.due())
        return max(own, self._turn_at)

    def ordered_until(self) -> float:
        """The time until which Segment asked not to be called; 0 where it did not."""
        return self._hold_until if self._hold_is_ordered else 0.0

    def nothing_before(self) -> float:
        """The time before which nothing is sent, whoever hurries: once what waits aside was tried
        for them, it waits again."""
        due = self._batches.due()
        return max(self.ordered_until(), due if due < math.inf else 0.0)

    def hurry(self, overrule: bool) -> None:
        """Try again at once; where Segment asked to wait, only to `overrule` it."""
        self._batches.hurry()
        if overrule or not self._hold_is_ordered:
            self._hold_until = 0.0
            self._hold_is_ordered = False

    def internal_error(self, error: Exception) -> None:
        """Wait as after a failed request: a fault of ours must not end the thread.

        Raises what is a signal handler's, in a thread of the application's that delivers.
        """
        if from_signal_handler(error):
            raise error
        self._log.warn("internal", f"Internal error, will try again: {describe(error)}")
        self._batches.interrupted()
        self._hold()

    def next_request(self) -> Request | None:
        """The request to be made now; `None` where there is none. To be followed by `act_on`."""
        if not self._is_our_turn():
            return None
        while (batch := self._batches.choose(self._now())) is not None:
            error = batch.messages[0].error
            if error is None:
                break
            self._unsendable(batch.messages, error)
        else:
            return None
        self._under_way = batch
        self._has_turn = False
        self._rate_limit.note(self._now())
        if batch.tries:
            self._counters.retries += 1
        return Request([each.body for each in batch.messages], batch.tries)

    def _is_our_turn(self) -> bool:
        """Whether it is, of those who share the spool. Else `ready_at` says when it will be."""
        if not self._has_turn:
            turn = self._backlog.turn(self._rate_limit)
            self._has_turn = turn is None or turn.is_given
            self._turn_at = 0.0 if turn is None else self._now() + turn.seconds
            return turn is None or (turn.is_given and turn.seconds == 0)
        return self._now() >= self._turn_at

    def act_on(self, verdict: Verdict) -> None:
        """Do what follows from the answer to the latest request."""
        batch, self._under_way = self._under_way, None
        assert batch is not None  # since `next_request`
        if verdict.outcome is Outcome.RETRY:
            self._retry(batch, verdict)
            return
        if verdict.outcome is Outcome.SPLIT and len(batch.messages) > 1:
            offender = self._batches.split(batch)
        else:
            # In this order: should the first of the two fail, the messages are tried again.
            if verdict.outcome is Outcome.DELIVERED:
                self._delivered(batch.messages)
            else:
                self._refused(batch.messages, verdict)
            offender = self._batches.taken(batch)
        if offender is not None:
            self._not_tried_again(offender)

    def _delivered(self, messages: list[Encoded]) -> None:
        self._backlog.remove(messages)
        with self._counters.lock:
            self._counters.deliver(len(messages))
            self._backlog.settle(messages)

    def _retry(self, batch: Batch, verdict: Verdict) -> None:
        self._counters.last_error = verdict.error
        if self._batches.failed(batch, verdict, self._now()):
            self._hold()
        # What a message brings about that others do not is for itself.
        if verdict.retry_after is not None and not self._batches.is_accusing:
            self._hold_until = self._now() + verdict.retry_after
            self._hold_is_ordered = True
        self._log.warn(
            "retry",
            f"Segment ({self._options.host}) could not take {len(batch.messages)} message(s), "
            f"{self._backlog.in_memory + self._backlog.in_spool} wait and will be tried again: "
            f"{verdict.error}",
        )
        self._batches.give_back()

    def _hold(self) -> None:
        self._hold_until = self._now() + backoff(self._batches.unexplained or 1, random.random)
        self._hold_is_ordered = False

    def _not_tried_again(self, offender: Batch) -> None:
        verdict = offender.verdict
        assert verdict is not None  # it has failed
        self._counters.last_error = verdict.error
        self._log.warn(
            "given up",
            f"Segment ({self._options.host}) failed {offender.tries} times at one message, which "
            f"was dropped, while it took others: {verdict.error}",
        )
        self._give_up(offender.messages, "send_error", DeliveryError(verdict.error, verdict.status))

    def _refused(self, batch: list[Encoded], verdict: Verdict) -> None:
        self._counters.last_error = verdict.error
        options = self._options
        by_token = options.oauth_client_key is not None
        text = refusal(verdict, len(batch), options.host, options.masked_write_key, by_token)
        self._log.warn(f"refused {verdict.status}", text)
        self._give_up(batch, "send_error", DeliveryError(verdict.error, verdict.status))

    def _unsendable(self, batch: list[Encoded], error: EncodingError) -> None:
        self._counters.last_error = str(error)
        self._log.warn("encoding", f"A message can't be sent and was dropped: {error}")
        too_long = isinstance(error, MessageTooLongError)
        reason: DropReason = "send_error" if too_long else "internal_sdk_error"
        self._give_up(batch, reason, DeliveryError(str(error)))

    def _give_up(self, batch: list[Encoded], reason: DropReason, error: DeliveryError) -> None:
        self._backlog.remove(batch)
        with self._counters.lock:
            self._counters.drop(reason, len(batch))
            self._backlog.settle(batch)
        if self._options.on_error is None:
            return
        try:
            self._options.on_error(error, [each.message for each in batch])
        except BaseException as raised:
            if from_signal_handler(raised):
                raise  # in a thread of the application's, where none can be had for this
            # Even sys.exit() must not end the thread.
            self._log.warn("on_error", f"on_error raised {describe(raised)}")
