"""What filtering takes: CPU a message of the whole process, with `scrub` and without."""

from __future__ import annotations

import random
import time
from uuid import uuid4

from benchmarks.child import Child
from benchmarks.collector import Collector
from benchmarks.events import sample
from benchmarks.figures import Effort, Figure, Table, Target
from benchmarks.spread import Spread, ratio
from benchmarks.subjects import Mirror

QUERIES = {
    "an ordinary query string": "express=1&article={}",
    "no query string": "",
    "a query string with secrets": "token=abc{0}&page=1&card=4111111111111111&p%61ssword={0}",
}
_POOL = 1000  # events that are put in turn, each time under another id


def measure(collector: Collector, folder: str, kind: str, scrub: bool, events: int) -> float:
    """Seconds of user and system time for a message, from the envelope to its delivery."""
    pool = [sample(number) for number in range(_POOL)]
    for number, each in enumerate(pool):
        each.event["request"]["query_string"] = QUERIES[kind].format(number)
    ids = [uuid4().hex for _ in range(events)]
    mirror = Mirror(scrub=scrub)
    mirror.start(collector.url, room=events + 1000)
    mirror.ready(pool[0])()
    mirror.flush()
    began = time.process_time()
    for number, fresh in enumerate(ids):
        mirror.ready(pool[number % _POOL], fresh)()
    mirror.flush()
    return (time.process_time() - began) / events


def run(effort: Effort) -> Figure:
    rounds, events = effort.pick(9, 1), effort.pick(20_000, 300)
    ways = [(kind, scrub) for kind in QUERIES for scrub in (True, False)]
    taken: dict[tuple[str, bool], list[float]] = {way: [] for way in ways}
    shuffled = random.Random(1)
    for number in range(rounds):
        effort.say(f"round {number + 1} of {rounds}")
        for kind, scrub in shuffled.sample(ways, len(ways)):
            child = Child(measure, kind=kind, scrub=scrub, events=events)
            taken[kind, scrub].append(child.result())
    more = {kind: ratio(taken[kind, True], taken[kind, False]) for kind in QUERIES}
    table = Table(
        "CPU a message, microseconds",
        ["messages with", "filtered", "`scrub=False`", "ratio"],
        [
            [
                kind,
                *(Spread.of(taken[kind, scrub]).text(1e6) for scrub in (True, False)),
                more[kind].text(),
            ]
            for kind in QUERIES
        ],
        "User and system time of the whole process, from the envelope to the delivery.",
    )
    ordinary = next(iter(QUERIES))
    target = Target("CPU a message, filtered against not", more[ordinary], at_most=1.15)
    raw = {f"{kind}, {'' if scrub else 'not '}filtered": of for (kind, scrub), of in taken.items()}
    return Figure("scrubbing", [table], [target], raw=raw)
