"""What one mirrored error costs the thread that captures it, against a peer's `track()`.

Everyone is in one process, and takes turns. What is timed is the calling thread's own CPU time,
which leaves out the threads in the background and the rest of a busy machine. A storm is a series
of calls of one client, with the same few errors each time; what comes alone finds everything as
other work has left it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sentry_sdk.envelope import Envelope
from sentry_sdk.session import Session

from benchmarks import app
from benchmarks.child import Child
from benchmarks.collector import Collector
from benchmarks.events import anonymous, enveloped, sample, transaction
from benchmarks.figures import Effort, Figure, Table, Target, best
from benchmarks.spread import Spread, ratio
from benchmarks.subjects import (
    MIRROR,
    PEERS,
    SPOOLED,
    Call,
    Discarding,
    Mirror,
    Nothing,
    Subject,
    subject,
)
from benchmarks.timing import active, discard, frozen, timed, wrapper

NO_OP = "a transport that does nothing"
UNWRAPPED, WRAPPED = "a capture_event that does nothing", "the same, wrapped"
_STORM = 20  # different errors in a storm
WITHOUT, WITH = "capture_exception without the mirror", "capture_exception with the mirror"
UNFIT = ("error without a user", "transaction", "session")

Times = dict[str, list[float]]


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Kind:
    """A kind of call."""

    make: Callable[[int], Call]
    """Makes the one with this number; not timed."""
    flush: Callable[[], None] = _nothing
    """Makes the client idle again."""

    def timed(self, calls: int) -> float:
        """Seconds for each of so many calls."""
        made = [self.make(number) for number in range(_STORM)]
        with frozen():
            return timed(made * (calls // _STORM))


def measure(
    collector: Collector, folder: str, rounds: int, calls: int
) -> tuple[Times, Times, Times]:
    """Seconds for each call, round by round: in a storm, alone, and for whole captures."""
    mirror, plain = Mirror(), Nothing()
    plain.start(collector.url, room=100_000)
    mirror.start(collector.url, room=100_000)
    clients: dict[str, Subject] = {MIRROR: mirror}
    for name in (SPOOLED, *PEERS):
        clients[name] = subject(name, folder)
        clients[name].start(collector.url, room=100_000)
    kinds = _direct_kinds(mirror)
    for name, client in clients.items():
        # The peers' threads sleep again at once: they wait for more to send.
        flush = client.flush if isinstance(client, Mirror) else _nothing
        kinds[name] = Kind(partial(_put, client), flush=flush)

    app.describe_user()
    whole: Times = {WITHOUT: [], WITH: []}
    alone: Times = {name: [] for name in (NO_OP, *clients)}
    storm: Times = {name: [] for name in kinds}
    shuffled = random.Random(1)
    for _ in range(1 + rounds):
        for name, took in _captures(mirror, plain, calls // 10):
            whole[name].append(took)
        for name in shuffled.sample(list(alone), len(alone)):
            alone[name].append(_alone(kinds[name], calls // 20))
    # From now on every thread in the background waits for an answer, and needs not to be woken.
    collector.hold()
    for _ in range(1 + rounds):
        order = shuffled.sample(list(kinds), len(kinds))
        # There and back: where the machine gets slower or faster meanwhile, it does so for all.
        halves: Times = {name: [] for name in kinds}
        for name in (*order, *reversed(order)):
            halves[name].append(kinds[name].timed(calls))
        for name, (first, second) in halves.items():
            storm[name].append((first + second) / 2)
    # The first round had to start the threads, make the connections and fill the caches.
    return _later(storm), _later(alone), _later(whole)


def _later(times: Times) -> Times:
    return {name: of[1:] for name, of in times.items()}


def _direct_kinds(mirror: Mirror) -> dict[str, Kind]:
    nothing = Discarding()

    def captures(capture_event: Callable[..., Any]) -> Kind:
        def call(number: int) -> Call:  # as the SDK's scopes do
            event = sample(number).event
            return partial(capture_event, mirror.client, event=event, hint={}, scope=None)

        return Kind(call)

    def envelopes(make: Callable[[int], Envelope], to: Callable[[Any], object]) -> Kind:
        return Kind(lambda number: partial(to, make(number)))

    return {
        NO_OP: envelopes(lambda n: sample(n).envelope, nothing.capture_envelope),
        UNWRAPPED: captures(discard),
        WRAPPED: captures(wrapper()),
        UNFIT[0]: envelopes(lambda n: enveloped(anonymous(n)), mirror.capture),
        UNFIT[1]: envelopes(lambda n: enveloped(transaction(n)), mirror.capture),
        UNFIT[2]: envelopes(_session, mirror.capture),
    }


def _alone(kind: Kind, calls: int) -> float:
    """Seconds for a call that finds the thread in the background asleep, and has to wake it."""
    total = 0.0
    for number in range(calls):
        total += timed([kind.make(number)])
        kind.flush()
        time.sleep(0.002)  # until it sleeps
    return total / calls


def _captures(mirror: Mirror, plain: Nothing, pairs: int) -> list[tuple[str, float]]:
    """Whole captures, which last so long that they take turns one by one."""
    took = {WITHOUT: 0.0, WITH: 0.0}
    for number in range(pairs):
        order = (WITHOUT, WITH) if number % 2 else (WITH, WITHOUT)
        for name in order:
            client = mirror.client if name == WITH else plain.client
            with active(client, attaching=name == WITH):
                took[name] += timed([app.fail_and_capture]) / pairs
            mirror.flush()
    return list(took.items())


def _session(number: int) -> Envelope:
    envelope = Envelope()
    envelope.add_session(Session(did=f"user-{number}", release="shop@1.4.2"))
    return envelope


def _put(client: Subject, number: int) -> Call:
    return client.ready(sample(number))


def run(effort: Effort) -> Figure:
    rounds, calls = effort.pick(40, 1), effort.pick(200, 20)
    effort.say(f"{rounds} rounds of twice {calls} calls of each, in one process")
    storm, alone, captures = Child(measure, rounds=rounds, calls=calls).result()

    pairs = zip(storm[WRAPPED], storm[UNWRAPPED], strict=True)
    attaching = [wrapped - unwrapped for wrapped, unwrapped in pairs]

    def with_wrapper(times: Times, name: str) -> list[float]:
        """A client of the SDK: what is added to its `capture_event`, and to a bare transport."""
        costs = zip(times[name], times[NO_OP], attaching, strict=True)
        return [cost - nothing + wrapper for cost, nothing, wrapper in costs]

    def costs_of(times: Times) -> Times:
        mirrors = {name: with_wrapper(times, name) for name in (MIRROR, SPOOLED)}
        return {**mirrors, **{name: times[name] for name in PEERS}}

    unfit = {name: with_wrapper(storm, name) for name in UNFIT[:2]}
    # A session does not go through `capture_event`.
    unfit[UNFIT[2]] = [a - b for a, b in zip(storm[UNFIT[2]], storm[NO_OP], strict=True)]
    costs, single = costs_of(storm), costs_of(alone)
    peer = best(costs, PEERS)
    worst = max(unfit, key=lambda name: Spread.of(unfit[name]).median)
    against = f"against a peer ({peer})"
    mirrored = Table(
        "Calling thread, microseconds for one error",
        ["client", "in a storm", against, "alone", f"alone, {against}"],
        [
            [
                name,
                Spread.of(costs[name]).text(1e6),
                ratio(costs[name], costs[peer]).text(),
                Spread.of(single[name]).text(1e6),
                ratio(single[name], single[peer]).text(),
            ]
            for name in costs
        ],
        "One that comes alone finds the caches cold, and has to wake the background thread. Of the "
        f"mirror's time in a storm, {Spread.of(attaching).text(1e6)} is the wrapper of "
        "capture_event.",
    )
    others = Table(
        "Calling thread, microseconds for what is not mirrored",
        ["envelope", "time", against],
        [
            [name, Spread.of(cost).text(1e6), ratio(cost, costs[peer]).text()]
            for name, cost in unfit.items()
        ],
    )
    pairs = zip(captures[WITH], captures[WITHOUT], strict=True)
    whole = Table(
        "capture_exception as a whole, microseconds",
        ["", "time"],
        [
            *([name, Spread.of(times).text(1e6)] for name, times in captures.items()),
            ["the difference", Spread.of([a - b for a, b in pairs]).text(1e6)],
            ["what is added, measured apart", Spread.of(single[MIRROR]).text(1e6)],
        ],
        "The difference of two large times spreads more than what it is to show. The share is "
        "therefore taken from what was measured apart, for an error that comes alone.",
    )
    targets = [
        Target(
            f"calling thread: {peer}'s track(), times the mirror's",
            ratio(costs[peer], costs[MIRROR]),
            at_least=10,
            label="calling thread",
        ),
        *(
            Target(
                f"calling thread: share of capture_exception's own time, {when}",
                ratio(of[MIRROR], captures[WITHOUT]),
                at_most=0.01,
            )
            for when, of in (("in a storm", costs), ("alone", single))
        ),
        Target(
            f"what does not qualify (worst: {worst}), against {peer}'s track()",
            ratio(unfit[worst], costs[peer]),
            at_most=0.02,
            label="calling thread, not mirrored",
        ),
    ]
    return Figure(
        "calling_thread",
        [mirrored, others, whole],
        targets,
        raw={"storm": storm, "alone": alone, "captures": captures},
    )
