"""Events a second, from the first put to the last delivery; and what the process needed for it."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from benchmarks.child import Child, forget_peak, status
from benchmarks.collector import Collector
from benchmarks.events import Sample, sample
from benchmarks.figures import Effort, Figure, Table, Target, best
from benchmarks.spread import Spread, ratio
from benchmarks.subjects import BARE, MIRROR, PEERS, SPOOLED, Subject, subject

_POOL = 1000  # events that are put in turn, each time under another id

Result = dict[str, float]


def measure(collector: Collector, folder: str, name: str, events: int, threads: int) -> Result:
    """Put so many errors. CPU and peak memory are less what the process had used before."""
    pool = [sample(number) for number in range(_POOL)]
    ids = [uuid4().hex for _ in range(events)]
    client = subject(name, folder)
    client.start(collector.url, room=events + 1000)
    client.ready(pool[0])()
    client.flush()
    collector.wait_for(1)
    gc.collect()
    gc.freeze()  # or each collection would go through all the events again

    begin = threading.Barrier(threads + 1)
    producers = [
        threading.Thread(target=_put, args=(client, begin, pool[n::threads], ids[n:events:threads]))
        for n in range(threads)
    ]
    for producer in producers:
        producer.start()
    forget_peak()
    memory, cpu = status("VmRSS"), time.process_time()
    begin.wait()
    began = time.monotonic()
    for producer in producers:
        producer.join()
    client.flush()
    cpu, memory = time.process_time() - cpu, status("VmHWM") - memory
    seconds = collector.wait_for(events + 1) - began
    return {"rate": events / seconds, "cpu": cpu, "memory": memory}


def _put(
    client: Subject, begin: threading.Barrier, pool: Sequence[Sample], ids: Sequence[str]
) -> None:
    begin.wait()
    for number, fresh in enumerate(ids):
        client.ready(pool[number % len(pool)], fresh)()


def run(effort: Effort) -> Figure:
    small, large = effort.pick(10_000, 300), effort.pick(100_000, 600)
    everyone = (MIRROR, SPOOLED, *PEERS, BARE)
    # Who is measured with how many events and threads, and in how many rounds.
    plan: list[tuple[int, int, Sequence[str], int]] = [
        (small, 1, everyone, effort.pick(5, 1)),
        (small, 8, (MIRROR, SPOOLED, *PEERS), effort.pick(3, 1)),
        (large, 1, (MIRROR, SPOOLED, BARE), effort.pick(3, 1)),
    ]
    if not effort.quick:
        plan += [(large, 1, PEERS, 1), (large, 8, (MIRROR, SPOOLED), 1)]  # which take long
    results: dict[tuple[int, int], dict[str, list[Result]]] = {}
    shuffled = random.Random(1)
    for events, threads, names, rounds in plan:
        for number in range(rounds):
            effort.say(f"{events:,} events, {threads} threads, round {number + 1} of {rounds}")
            for name in shuffled.sample(names, len(names)):
                child = Child(measure, name=name, events=events, threads=threads)
                results.setdefault((events, threads), {}).setdefault(name, []).append(
                    child.result()
                )
    return _figure(results, small, large)


def _figure(
    results: dict[tuple[int, int], dict[str, list[Result]]], small: int, large: int
) -> Figure:
    # Seconds an event, so that less is better as everywhere else.
    costs = {
        key: {name: [1 / each["rate"] for each in rounds] for name, rounds in of.items()}
        for key, of in results.items()
    }
    names = (MIRROR, SPOOLED, *PEERS, BARE)
    rates = Table(
        "Throughput, events a second",
        ["client", *(f"{n:,} events, {t} thread{'s' * (t > 1)}" for n, t in results)],
        [[name, *(_rate(of.get(name)) for of in results.values())] for name in names],
    )
    used = {
        what: {name: [each[what] for each in rounds] for name, rounds in results[small, 1].items()}
        for what in ("cpu", "memory")
    }
    needs = Table(
        f"What {small:,} events take, after the start and one event",
        ["client", "CPU, seconds", "peak memory, MB"],
        [
            [
                name,
                Spread.of(used["cpu"][name]).text(),
                Spread.of(used["memory"][name]).text(1e-6),
            ]
            for name in names
        ],
        "User and system time of the whole process, its background threads included.",
    )
    one, many = costs[small, 1], costs[large, 1]
    peer, frugal = best(one, PEERS), best(used["cpu"], PEERS)
    targets = [
        Target(
            f"throughput, {small:,} events, against {peer}",
            ratio(one[peer], one[MIRROR]),
            at_least=5,
            label="throughput",
        ),
        Target(
            f"throughput, {large:,} events, share of the bare httpx loop",
            ratio(many[BARE], many[MIRROR]),
            at_least=0.7,
        ),
        Target(
            f"CPU for {small:,} events, against {frugal}",
            ratio(used["cpu"][MIRROR], used["cpu"][frugal]),
            at_most=0.25,
            label="CPU",
        ),
        Target(
            f"with the spool: throughput, {small:,} events, against {peer} without one",
            ratio(one[peer], one[SPOOLED]),
            at_least=2,
            label="throughput, spool",
        ),
    ]
    raw: dict[str, Any] = {f"{n} events, {t} threads": of for (n, t), of in results.items()}
    return Figure("throughput", [rates, needs], targets, raw=raw)


def _rate(rounds: list[Result] | None) -> str:
    return "" if rounds is None else Spread.of([each["rate"] for each in rounds]).text()
