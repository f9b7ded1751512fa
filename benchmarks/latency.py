"""From the capture to the arrival at the collector, in a process that has nothing else to do."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.child import Child
from benchmarks.collector import Collector
from benchmarks.events import sample
from benchmarks.figures import Effort, Figure, Table, Target, best
from benchmarks.spread import Spread, percentile, ratio
from benchmarks.subjects import MIRROR, PEERS, SPOOLED, subject

# Clients that send at intervals: the pauses are spread over one, or all captures would fall into
# the same place of it.
_INTERVALS = {"segment-analytics-python": 0.5, "rudder-sdk-python": 0.5, "posthog": 5.0}
_PAUSE = 0.02


def measure(
    collector: Collector, folder: str, name: str, samples: int, interval: float, seed: int
) -> list[float]:
    client = subject(name, folder)
    client.start(collector.url, room=10_000)
    client.ready(sample(0))()
    client.flush()
    collector.wait_for(1)
    pauses = random.Random(seed)
    captured: list[float] = []
    for number in range(1, samples + 1):
        time.sleep(_PAUSE + pauses.uniform(0, interval))
        call = client.ready(sample(number))
        captured.append(time.monotonic())
        call()
        if interval:
            time.sleep(_PAUSE)
            collector.wait_for(number + 1)
    time.sleep(0.1)
    collector.wait_for(samples + 1)
    arrived = [at for at, _ in collector.arrivals()[1:]]
    if len(arrived) != samples:
        raise RuntimeError("messages arrived together: too little time between any two")
    return [there - here for here, there in zip(captured, arrived, strict=True)]


def run(effort: Effort) -> Figure:
    quick = effort.quick
    times: dict[str, list[float]] = {}
    effort.say("the peers, which mostly sleep, side by side")
    # PostHog's interval is so long that its samples are taken in several processes.
    apart = {name: 4 if _INTERVALS[name] > 1 and not quick else 1 for name in PEERS}
    with ThreadPoolExecutor(16) as pool:
        for name, taken in [
            (
                name,
                pool.submit(
                    Child(
                        measure,
                        name=name,
                        samples=1 if quick else 20 // processes,
                        # In a hurry the intervals need not be covered.
                        interval=0.1 if quick else _INTERVALS[name],
                        seed=seed,
                    ).result
                ),
            )
            for name, processes in apart.items()
            for seed in range(processes)
        ]:
            times.setdefault(name, []).extend(taken.result())
    rounds, each = effort.pick(5, 1), effort.pick(200, 10)
    for number in range(rounds):
        effort.say(f"the mirror, round {number + 1} of {rounds}")
        for name in (MIRROR, SPOOLED):
            child = Child(measure, name=name, samples=each, interval=0.0, seed=number)
            times.setdefault(name, []).extend(child.result())
    peer = best(times, PEERS)
    names = (MIRROR, SPOOLED, *PEERS)
    table = Table(
        "Latency when idle, milliseconds from the capture to the collector",
        ["client", "median (quartiles)", "99th percentile", "samples"],
        [
            [
                name,
                Spread.of(times[name]).text(1e3),
                f"{1e3 * percentile(times[name], 99):,.1f}",
                str(len(times[name])),
            ]
            for name in names
        ],
        "The peers send what an interval has brought: half a second, and five seconds.",
    )
    # The samples are no rounds: the peer's median against the mirror's, round by round.
    middle = [Spread.of(times[peer]).median] * rounds
    mine = [Spread.of(times[MIRROR][n * each : (n + 1) * each]).median for n in range(rounds)]
    target = Target(
        f"latency when idle: {peer}'s, times the mirror's",
        ratio(middle, mine),
        at_least=50,
        label="latency when idle",
    )
    return Figure("latency", [table], [target], raw=times)
