"""What filtering takes: CPU a message of the whole process, with `scrub` and without.

Once from the application's call to the delivery, and once from the envelope on: what the mirror
itself does, which is a small part of the former.
"""

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


def measure(
    collector: Collector, folder: str, kind: str, scrub: bool, with_sdk: bool, events: int
) -> float:
    """Seconds of user and system time for a message, until its delivery."""
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
        each = pool[number % _POOL]
        if with_sdk:
            mirror.client.capture_event(each.event | {"event_id": fresh})
        else:
            mirror.ready(each, fresh)()
    mirror.flush()
    return (time.process_time() - began) / events


def run(effort: Effort) -> Figure:
    rounds, events = effort.pick(9, 1), effort.pick(20_000, 300)
    ways = [
        (kind, scrub, with_sdk)
        for kind in QUERIES
        for scrub in (True, False)
        for with_sdk in (True, False)
    ]
    taken: dict[tuple[str, bool, bool], list[float]] = {way: [] for way in ways}
    shuffled = random.Random(1)
    for number in range(rounds):
        effort.say(f"round {number + 1} of {rounds}")
        for kind, scrub, with_sdk in shuffled.sample(ways, len(ways)):
            # The SDK takes a millisecond for an event, some 50 times what the mirror does.
            count = events // 40 if with_sdk else events
            child = Child(measure, kind=kind, scrub=scrub, with_sdk=with_sdk, events=count)
            taken[kind, scrub, with_sdk].append(child.result())
    more = {
        (kind, with_sdk): ratio(taken[kind, True, with_sdk], taken[kind, False, with_sdk])
        for kind, _, with_sdk in ways
    }
    table = Table(
        "CPU a message, microseconds",
        ["messages with", "from", "filtered", "`scrub=False`", "ratio"],
        [
            [
                kind,
                "the capture" if with_sdk else "the envelope",
                *(Spread.of(taken[kind, scrub, with_sdk]).text(1e6) for scrub in (True, False)),
                more[kind, with_sdk].text(),
            ]
            for with_sdk in (True, False)
            for kind in QUERIES
        ],
        "User and system time of the whole process until the delivery: from the call of the SDK's "
        "`capture_event`, and from the envelope that it hands to the transport.",
    )
    ordinary = next(iter(QUERIES))
    target = Target("CPU a message, filtered against not", more[ordinary, True], at_most=1.15)
    raw = {
        f"{kind}, scrub={scrub}, {'capture' if with_sdk else 'envelope'}": of
        for (kind, scrub, with_sdk), of in taken.items()
    }
    return Figure("scrubbing", [table], [target], raw=raw)
