"""What is tried together, and what is concluded from it. No clock, no requests, and any server."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from sentry_segment.delivery.batches import Batches
from sentry_segment.delivery.encoded import Encoded
from sentry_segment.wire.verdict import Outcome, Verdict

MOST = 8  # messages of a batch
ENDLESS = 3_000  # tries: far more than any of it takes

FAILED = Verdict(Outcome.RETRY, "HTTP 500", 500, is_suspicious=True)
UNREACHED = Verdict(Outcome.RETRY, "ConnectError")
TAKEN = Verdict(Outcome.DELIVERED)
MALFORMED = Verdict(Outcome.SPLIT, "HTTP 400", 400)

Server = Callable[[list[bytes]], Verdict]


class Waiting:
    """A backlog of messages, each a number."""

    def __init__(self, messages: int) -> None:
        self.waiting = deque(Encoded(b"%d" % n) for n in range(messages))

    @property
    def is_empty(self) -> bool:
        return not self.waiting

    def take_batch(self) -> list[Encoded]:
        return [self.waiting.popleft() for _ in range(min(MOST, len(self.waiting)))]

    def take_back(self, messages: list[Encoded]) -> list[Encoded]:
        return messages


class Run:
    """All messages tried at one server, until none is left but those it never takes."""

    def __init__(self, messages: int, server: Server, arriving: int = 0) -> None:
        self.backlog = Waiting(messages)
        self.batches = Batches(self.backlog)  # type: ignore[arg-type]
        self.tries: list[list[bytes]] = []
        self.taken: list[bytes] = []
        self.refused: list[bytes] = []
        self.given_up: list[bytes] = []
        self._server = server
        self._arriving = iter(range(messages, messages + arriving))
        self._time = 0.0

    def go_on(self, until: Callable[[], bool]) -> None:
        for _ in range(ENDLESS):
            if until() or self.batches.is_empty:
                return
            self.one_more()
        raise AssertionError(f"no end: {self.tries[-20:]}")

    def arrive(self) -> None:
        self.backlog.waiting.extend(Encoded(b"%d" % n) for n in self._arriving)

    def one_more(self) -> None:
        self._time = max(self._time, self.batches.due()) + 100.0
        batch = self.batches.choose(self._time)
        assert batch is not None
        bodies = [each.body for each in batch.messages]
        assert 0 < len(bodies) <= MOST
        self.tries.append(bodies)
        verdict = self._server(bodies)
        offender = None
        if verdict.outcome is Outcome.RETRY:
            self.batches.failed(batch, verdict, self._time)
        elif verdict.outcome is Outcome.SPLIT and len(bodies) > 1:
            offender = self.batches.split(batch)
        else:
            is_taken = verdict.outcome is Outcome.DELIVERED
            (self.taken if is_taken else self.refused).extend(bodies)
            offender = self.batches.taken(batch)
        if offender is not None:
            self.given_up += [each.body for each in offender.messages]


@given(
    messages=st.integers(1, 40),
    offenders=st.frozensets(st.integers(0, 60), max_size=6),
    malformed=st.frozensets(st.integers(0, 60), max_size=3),
    arriving=st.integers(0, 20),
)
@settings(max_examples=300)
def test_each_message_that_is_taken_alone_is_taken_once(
    messages: int, offenders: frozenset[int], malformed: frozenset[int], arriving: int
) -> None:
    def server(bodies: list[bytes]) -> Verdict:
        numbers = {int(body) for body in bodies}
        if numbers & offenders:
            return FAILED
        return MALFORMED if numbers & malformed else TAKEN

    run = Run(messages, server, arriving)
    innocent = set(range(messages)) - offenders
    run.go_on(lambda: len(run.taken) + len(run.refused) == len(innocent))
    run.arrive()
    innocent = set(range(messages + arriving)) - offenders
    assert len(run.tries) <= 30 + 25 * len(offenders | malformed)
    run.go_on(lambda: len(run.taken) + len(run.refused) == len(innocent))
    assert sorted(map(int, run.taken)) == sorted(innocent - malformed)
    assert sorted(map(int, run.refused)) == sorted(innocent & malformed)
    assert {int(body) for body in run.given_up} <= offenders


@given(
    messages=st.integers(1, 40),
    failures=st.integers(0, 60),
    verdict=st.sampled_from([FAILED, UNREACHED]),
)
@settings(max_examples=200)
def test_after_an_outage_all_is_taken_in_few_requests(
    messages: int, failures: int, verdict: Verdict
) -> None:
    run = Run(messages, lambda bodies: verdict if len(run.tries) <= failures else TAKEN)
    run.go_on(lambda: False)
    assert sorted(map(int, run.taken)) == list(range(messages))
    assert run.given_up == []
    # The batches, and where a message was tried alone just then, one more.
    assert len(run.tries) - failures <= -(-messages // MOST) + 1
    if verdict is UNREACHED or failures % 3:
        assert run.taken == [b"%d" % n for n in range(messages)]


def test_a_long_outage_keeps_no_more_than_some_batches_in_memory() -> None:
    run = Run(100 * MOST, lambda bodies: FAILED)
    for _ in range(ENDLESS):
        run.one_more()
    assert len(run.backlog.waiting) >= 90 * MOST


@given(
    seed=st.integers(0, 10_000),
    share=st.floats(0.0, 0.95),
    verdicts=st.sampled_from([[FAILED], [UNREACHED], [FAILED, UNREACHED]]),
)
@settings(max_examples=200, deadline=None)
def test_a_server_that_fails_by_chance_gives_nobody_up(
    seed: int, share: float, verdicts: list[Verdict]
) -> None:
    chance = random.Random(seed)

    def server(bodies: list[bytes]) -> Verdict:
        return chance.choice(verdicts) if chance.random() < share else TAKEN

    run = Run(40, server)
    run.go_on(lambda: False)
    assert sorted(map(int, run.taken)) == list(range(40))
    assert run.given_up == []
