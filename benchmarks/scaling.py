"""Whether a message's cost stays what it is, whatever there is much of."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from statistics import median
from typing import Any
from uuid import uuid4

import sentry_sdk

from benchmarks.child import Child
from benchmarks.collector import Collector
from benchmarks.events import Sample, enveloped, error, sample
from benchmarks.figures import Effort, Figure, Line, Table, Target
from benchmarks.spread import Spread, short
from benchmarks.subjects import DSN, WRITE_KEY, Call, Discarding, Mirror
from benchmarks.timing import frozen, timed, wrapper

Points = list[tuple[float, float]]

_BLOCK = 200
_POOL = 128  # events, that they stay in the processor's cache whatever the amount


def over_messages(collector: Collector, folder: str, amounts: list[int]) -> dict[str, Points]:
    """Seconds of CPU for each message: of the process, and of the thread that captures."""
    pool = [sample(number) for number in range(_POOL)]
    ids = [uuid4().hex for _ in range(max(amounts))]
    mirror = _warm(collector, max(amounts) + 1, pool[0])
    whole: Points = []
    calling: Points = []
    for amount in amounts:
        process, thread = [], []
        for _ in range(max(1, min(30, 20_000 // amount))):
            began, here = time.process_time(), time.thread_time()
            for number in range(amount):
                mirror.ready(pool[number % _POOL], ids[number])()
            thread.append(time.thread_time() - here)
            mirror.flush()
            process.append(time.process_time() - began)
        whole.append((amount, median(process) / amount))
        calling.append((amount, median(thread) / amount))
    return {"process": whole, "calling thread": calling}


def over_threads(
    collector: Collector, folder: str, amounts: list[int], messages: int
) -> dict[str, Points]:
    """The same, where so many threads capture at once."""
    pool = [sample(number) for number in range(_POOL)]
    mirror = _warm(collector, messages + 1, pool[0])
    whole: Points = []
    calling: Points = []
    for amount in amounts:
        process, thread = [], []
        for _ in range(3):
            took: list[float] = []

            def put(samples: Sequence[Any], times: int, took: list[float] = took) -> None:
                began = time.thread_time()
                for number in range(times):
                    mirror.ready(samples[number % len(samples)])()
                took.append(time.thread_time() - began)

            each = messages // amount
            threads = [
                threading.Thread(target=put, args=(pool[n::amount], each)) for n in range(amount)
            ]
            began = time.process_time()
            for started in threads:
                started.start()
            for started in threads:
                started.join()
            mirror.flush()
            process.append((time.process_time() - began) / (each * amount))
            thread.append(sum(took) / (each * amount))
        whole.append((amount, median(process)))
        calling.append((amount, median(thread)))
    return {"process": whole, "calling thread": calling}


def over_waiting(collector: Collector, folder: str, amounts: list[int]) -> Points:
    """The calling thread's seconds for a message, with so many that wait."""
    pool = [sample(number) for number in range(_BLOCK)]
    mirror = _warm(collector, max(amounts) + 100_000, pool[0])
    collector.hold()
    waiting, points = 0, []
    for amount in amounts:
        while waiting < amount:
            mirror.ready(pool[waiting % _BLOCK], uuid4().hex)()
            waiting += 1
        points.append((float(amount), _block(lambda: [mirror.ready(each) for each in pool])))
        waiting += _REPEATS * _BLOCK
    return points


def over_sizes(collector: Collector, folder: str, amounts: list[int]) -> Points:
    """The calling thread's seconds for an error of so many bytes."""
    mirror = Mirror()
    mirror.start(collector.url, room=100_000)
    points = []
    for amount in amounts:
        event = error(amount)
        third = max(amount // 3, 0)
        frames = event["exception"]["values"][0]["stacktrace"]["frames"]
        frames[0]["vars"] = {f"v{n}": "x" * 500 for n in range(third // 500)}
        crumb = {"category": "query", "message": "x" * 500}
        event["breadcrumbs"]["values"] = [dict(crumb) for _ in range(third // 500)]
        event["extra"] = {"text": "x" * third}
        envelope = enveloped(event)
        calls: list[Call] = [partial(mirror.capture, envelope)] * _BLOCK
        points.append((float(amount), _block(partial(list, calls))))
        mirror.flush()
    return points


def over_clients(collector: Collector, folder: str, amounts: list[int]) -> Points:
    """The calling thread's seconds for a message among clients, `capture_event`'s wrapper too."""
    from sentry_segment import SegmentIntegration

    mirror = Mirror()
    mirror.start(collector.url, room=100_000)
    attaching = wrapper()
    others: list[Any] = []
    points = []
    for amount in amounts:
        while len(others) + 1 < amount:
            sentry_sdk.init(
                DSN,
                transport=Discarding,
                integrations=[SegmentIntegration(WRITE_KEY, host=collector.url)],
                default_integrations=False,
            )
            sentry_sdk.capture_message("An event, so that the integration finds the client")
            others.append(sentry_sdk.get_client())
        sentry_sdk.get_global_scope().set_client(mirror.client)
        samples = [sample(number) for number in range(_BLOCK)]

        def calls(samples: Sequence[Any] = samples) -> list[Call]:
            both: list[Call] = [mirror.ready(each) for each in samples]
            return both + [partial(attaching, mirror.client, each.event, {}) for each in samples]

        points.append((float(amount), 2 * _block(calls)))
        mirror.flush()
    return points


def _warm(collector: Collector, room: int, first: Sample) -> Mirror:
    """A mirror that has sent one error, with nothing else for the garbage collector to walk."""
    mirror = Mirror()
    mirror.start(collector.url, room=room)
    mirror.ready(first)()
    mirror.flush()
    gc.collect()
    gc.freeze()
    return mirror


_REPEATS = 7


def _block(make: Callable[[], Sequence[Call]]) -> float:
    times = []
    for _ in range(_REPEATS):
        calls = make()
        with frozen():
            times.append(timed(calls))
    return median(times)


def run(effort: Effort) -> Figure:
    quick = effort.quick
    tens = [1, 10, 100] if quick else [1, 10, 100, 1_000, 10_000, 100_000]
    powers = [1, 4] if quick else [1, 2, 4, 8, 16, 32, 64]
    few = [1, 10] if quick else [1, 10, 100, 1_000]
    sizes = [1_000, 100_000] if quick else [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
    effort.say("messages, threads, messages that wait, bytes, clients")
    messages = Child(over_messages, amounts=tens).result()
    threads = Child(over_threads, amounts=powers, messages=effort.pick(12_800, 256)).result()
    calling: dict[str, Points] = {
        "messages": messages["calling thread"],
        "threads": threads["calling thread"],
        "messages that wait": Child(over_waiting, amounts=[0, *tens]).result(),
        "bytes of the event": Child(over_sizes, amounts=sizes).result(),
        "clients": Child(over_clients, amounts=few).result(),
    }
    whole: dict[str, Points] = {"messages": messages["process"], "threads": threads["process"]}
    lines = [
        Line(
            f"Against the number of {x}" if x != "bytes of the event" else "Against its bytes",
            x,
            "microseconds of CPU a message",
            {
                "calling thread": [(at, 1e6 * cost) for at, cost in points],
                **({"whole process": [(at, 1e6 * c) for at, c in whole[x]]} if x in whole else {}),
            },
        )
        for x, points in calling.items()
    ]
    rows = [_row("calling thread", x, points) for x, points in calling.items()]
    rows += [_row("whole process", x, points) for x, points in whole.items()]
    table = Table(
        "Scaling, microseconds of CPU for one message",
        ["of", "against the number of", "from", "to", "least", "most", "growth"],
        rows,
        "Each figure is the median of several blocks. The growth is the most by which the cost "
        "rises from any number to a larger one. Few messages in a row cost more each, for waking "
        "the other thread and a request are fixed costs.",
    )
    raw = {"calling thread": calling, "whole process": whole}
    return Figure("scaling", [table], _flat(rows), lines, raw)


def _row(of: str, x: str, points: Points) -> list[str]:
    costs = [cost for _, cost in points]
    ends = [f"{points[0][0]:,.0f}", f"{points[-1][0]:,.0f}"]
    growth = max(later / sooner for sooner, later in combinations(costs, 2))
    return [of, x, *ends, short(1e6 * min(costs)), short(1e6 * max(costs)), short(growth)]


def _flat(rows: Sequence[Sequence[str]]) -> list[Target]:
    """What stays flat varies by less than the machine's own speed does from second to second."""
    return [
        Target(f"scaling: {of}, growth with {x}", Spread.of([float(flat)]), at_most=2)
        for of, x, *_, flat in rows
    ]
