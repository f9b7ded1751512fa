"""Memory of messages that wait because nobody answers."""

from __future__ import annotations

import gc
import random

from benchmarks.child import Child, status
from benchmarks.collector import Collector
from benchmarks.events import sample
from benchmarks.figures import Effort, Figure, Table, Target, best
from benchmarks.spread import Spread, ratio
from benchmarks.subjects import MIRROR, PEERS, subject


def measure(collector: Collector, folder: str, name: str, messages: int) -> float:
    """Bytes that the process grows by."""
    client = subject(name, folder)
    client.start(collector.url, room=messages + 1000)
    client.ready(sample(0))()
    client.flush()
    collector.wait_for(1)
    collector.hold()
    for number in range(1000):  # the room that making events takes is there, and stays
        sample(number)
    gc.collect()
    before = status("VmRSS")
    for number in range(messages):
        client.ready(sample(number))()
    gc.collect()
    return status("VmRSS") - before


def run(effort: Effort) -> Figure:
    names, messages = (MIRROR, *PEERS), effort.pick(10_000, 500)
    grown: dict[str, list[float]] = {name: [] for name in names}
    shuffled, rounds = random.Random(1), effort.pick(3, 1)
    for number in range(rounds):
        effort.say(f"{messages:,} waiting messages, round {number + 1} of {rounds}")
        for name in shuffled.sample(names, len(names)):
            grown[name].append(max(Child(measure, name=name, messages=messages).result(), 1.0))
    peer = best(grown, PEERS)
    table = Table(
        f"Memory of {messages:,} waiting messages",
        ["client", "MB", "KB a message", f"against a peer ({peer})"],
        [
            [
                name,
                Spread.of(values).text(1e-6),
                Spread.of(values).text(1e-3 / messages),
                ratio(values, grown[peer]).text(),
            ]
            for name, values in grown.items()
        ],
    )
    target = Target(
        f"memory of {messages:,} waiting messages, against {peer}",
        ratio(grown[MIRROR], grown[peer]),
        at_most=0.5,
        label="memory of waiting messages",
    )
    return Figure("waiting", [table], [target], raw=grown)
