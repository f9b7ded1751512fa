"""Which messages are tried together: what the server fails at again and again is found, and waits
aside, so that it holds up nothing else."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass

from sentry_segment.delivery.backlog import Backlog
from sentry_segment.delivery.encoded import Encoded
from sentry_segment.wire.verdict import Verdict, backoff

SUSPECT_AFTER = 3
"""Failures of a batch, after which the fault may be that of a message, and not the server's."""

_PROBE_EVERY = 3  # failures, after which something else is tried in the place of a suspect

_MOST_WAITING = 8  # batches that are handed out in an outage, 500 KB each: a bound on memory

BLAMED_AFTER = 2
"""Failures of a suspect between requests that were taken, after which it is a message's."""

GIVE_UP_AFTER = 20
"""Such failures of a message that waits aside, after which it is given up."""


@dataclass(eq=False)
class Batch:
    """Messages that are tried together.

    Attributes:
        tries: how often just these were tried, or all of them among others.
        failures: how many of these tries failed in a way that a message may be to blame for.
        is_suspect: whether a message in it may be to blame.
        is_split: whether a message in it or in what it was split from is.
        blames: how often it failed between requests that were taken.
        probes: how many of its messages were tried alone, to find out whether the server works.
        probe_of: the batch that this message is tried for. It is still among that one's messages.
        due: of what waits aside, the time of the next try.
        verdict: the latest on a try that failed.
    """

    messages: list[Encoded]
    tries: int = 0
    failures: int = 0
    is_suspect: bool = False
    is_split: bool = False
    blames: int = 0
    probes: int = 0
    probe_of: Batch | None = None
    due: float = -math.inf
    verdict: Verdict | None = None


class Batches:
    """Chooses what is tried next, one batch at a time, and concludes from what came of it.

    As long as nothing fails, that is one batch of the backlog after the other. One that fails is
    tried again. After `SUSPECT_AFTER` failures it is a suspect, and now and then something else is
    tried in its place: a single message of it, or the next batch of the backlog. In an outage that
    fails too, and no more requests are made than before. Where it is taken, the server works, and
    the suspect is tried whole: after an outage, that ends it. If it goes on failing while others
    are taken, it is split, until each offender stands alone. Offenders wait aside, and are tried
    when their time has come. Who has failed there `GIVE_UP_AFTER` times, each time between requests
    that were taken, is given up.

    So a server that fails at most requests, whatever is in them, gives nobody up: what it fails at,
    it takes some tries later, long before so many others were taken in between.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._waiting: deque[Batch] = deque()  # the first is next
        self._aside: list[Batch] = []  # of one message each
        # What failed since the latest request that was taken; `None` where anything else but
        # suspects did.
        self._accused: list[Batch] | None = None
        self._probed = 0  # how many probes have failed: each is another than the one before
        self.failing = 0
        """How many requests have failed since the latest that was taken."""
        self.unexplained = 0
        """How many of them, but for those that suspects alone failed at."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to try, neither now nor later."""
        return self.has_only_aside and not self._aside

    @property
    def has_only_aside(self) -> bool:
        """Whether there is nothing to try but what waits aside, if that."""
        return not self._waiting and self._backlog.is_empty

    def due(self) -> float:
        """The time from which there is something to try."""
        if not self.has_only_aside:
            return -math.inf
        return min((batch.due for batch in self._aside), default=math.inf)

    @property
    def is_accusing(self) -> bool:
        """Whether suspects alone have failed since the latest request that was taken."""
        return bool(self._accused)

    def hurry(self) -> None:
        """Have what waits aside tried as soon as the rest."""
        for batch in self._aside:
            batch.due = -math.inf

    def choose(self, now: float) -> Batch | None:
        """What is to be tried now; `None` where there is nothing.

        To be followed by `taken`, `split` or `failed`. What has no JSON form comes alone, and is to
        be settled without a try.
        """
        if self._aside and (not self.failing or self.has_only_aside):
            aside = min(self._aside, key=lambda each: each.due)
            if aside.due <= now:
                return aside
        if not self._waiting:
            messages = self._backlog.take_batch()
            if not messages or messages[0].error is not None:
                return Batch(messages) if messages else None
            self._waiting.append(Batch(messages))
        batch = self._waiting[0]
        if batch.is_suspect and self.failing and (self._accused or self._is_time_to_probe()):
            return self._probe() or batch
        return batch

    def _is_time_to_probe(self) -> bool:
        first = self._waiting[0]
        is_to_blame = first.is_split and len(first.messages) > 1
        if is_to_blame or self.failing % _PROBE_EVERY == 0:
            return True
        # Others are not to wait for one alone.
        return all(len(each.messages) == 1 for each in self._waiting) and self._has_more

    def _probe(self) -> Batch | None:
        """What is tried in the place of a suspect; `None` where there is nothing else.

        By turns the next batch of the backlog and a message of those that were handed out, as long
        as these fail.
        """
        first = self._waiting[0]
        suspects = [each for each in self._waiting if each is not first or len(each.messages) > 1]
        if self._has_more and (self._probed % 2 or not suspects):
            messages = self._backlog.take_batch()
            if messages and messages[0].error is not None:
                return Batch(messages)
            if messages:
                self._waiting.append(Batch(messages))
                return self._waiting[-1]
        if not suspects:
            return None
        batch = suspects[self._probed // 2 % len(suspects)]
        if len(batch.messages) == 1:
            return batch
        message = batch.messages[batch.probes % len(batch.messages)]
        return Batch([message], batch.tries, probe_of=batch)

    @property
    def _has_more(self) -> bool:
        return len(self._waiting) < _MOST_WAITING and not self._backlog.is_empty

    def taken(self, batch: Batch) -> Batch | None:
        """The server took it, or refused it for good: it is no longer among what is to be tried.

        Returns a message that is to be given up.
        """
        if batch.probe_of is not None:
            rest = [each for each in batch.probe_of.messages if each is not batch.messages[0]]
            batch.probe_of.messages = rest
        elif batch in self._aside:
            self._aside.remove(batch)
        else:
            self._waiting.remove(batch)
        return self._server_works(batch)

    def split(self, batch: Batch) -> Batch | None:
        """The server refused it, for what one of its messages is to blame: it is tried in halves.

        Returns a message that is to be given up.
        """
        self._waiting.remove(batch)
        self._waiting.extendleft(reversed(_halves(batch)))
        return self._server_works(batch)

    def failed(self, batch: Batch, verdict: Verdict, now: float) -> bool:
        """The server did not take it: it is tried again. Returns whether everything is to wait."""
        batch.verdict = verdict
        batch.tries += 1
        self.failing += 1
        is_aside = batch in self._aside
        self._probed += not is_aside and batch is not self._waiting[0]
        if batch.probe_of is not None:
            batch.probe_of.probes += 1
        elif verdict.is_suspicious:
            batch.failures += 1
        if not verdict.is_suspicious or not batch.is_suspect:
            self._accused = None
            batch.is_suspect |= batch.probe_of is None and batch.failures >= SUSPECT_AFTER
        elif self._accused is not None:
            self._accused.append(batch)
            if not is_aside:
                self._waiting.remove(batch)
                is_aside = len(batch.messages) == 1
                (self._aside if is_aside else self._waiting).append(batch)
        self.unexplained += self._accused is None
        if is_aside:
            self._defer(batch, now)
        return not is_aside or self._accused is None

    def interrupted(self) -> None:
        """A fault of ours kept a try from its end. It is made again."""
        self.failing += 1
        self.unexplained += 1
        self._accused = None

    def give_back(self) -> None:
        """Have the backlog spool the messages that are in memory alone, if it can do so now."""
        for batch in (*self._aside, *reversed(self._waiting)):
            batch.messages = self._backlog.take_back(batch.messages)
        self._aside = [batch for batch in self._aside if batch.messages]
        self._drop_empty()

    def _server_works(self, taken: Batch) -> Batch | None:
        accused, self._accused = self._accused, []
        self.failing = self.unexplained = 0
        given_up = None
        for batch in dict.fromkeys(accused or ()):
            if batch is taken or not batch.messages:
                continue
            batch.blames += 1
            if batch in self._aside:
                if batch.blames >= GIVE_UP_AFTER and given_up is None:
                    self._aside.remove(batch)
                    given_up = batch
            elif len(batch.messages) > 1 and (batch.is_split or batch.blames >= BLAMED_AFTER):
                self._waiting.remove(batch)
                self._waiting.extend(_halves(batch))
        self._drop_empty()
        return given_up

    def _drop_empty(self) -> None:
        self._waiting = deque(batch for batch in self._waiting if batch.messages)

    def _defer(self, batch: Batch, now: float) -> None:
        """Have a message aside wait, longer after each failure; the others aside as well, if those
        fail one after the other."""
        wait = backoff(batch.failures, random.random)
        if batch.verdict is not None and batch.verdict.retry_after is not None:
            wait = batch.verdict.retry_after
        batch.due = now + wait
        if self.failing > 1:
            for each in self._aside:
                if each.due != -math.inf:  # which somebody waits for, who flushes
                    each.due = max(each.due, now + backoff(self.failing, random.random))


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    middle = len(batch.messages) // 2
    first, second = (
        Batch(messages, batch.tries, is_suspect=batch.is_suspect, is_split=batch.is_suspect)
        for messages in (batch.messages[:middle], batch.messages[middle:])
    )
    return first, second
