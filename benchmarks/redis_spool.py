"""With the spool in a Redis: throughput against the best peer, which has none, and a call's cost.

Needs a redis-server. It writes to the disk as one for a fleet should: append-only, synced every
second.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks import throughput
from benchmarks.child import Child
from benchmarks.collector import HOST, Collector
from benchmarks.events import sample
from benchmarks.figures import Effort, Figure, Table, Target, best
from benchmarks.spread import Spread, ratio
from benchmarks.subjects import IN_REDIS, MIRROR, PEERS, REDIS_VARIABLE, SPOOLED, Mirror, subject
from benchmarks.timing import frozen, timed

PROGRAM = shutil.which("redis-server")
_STORM = 20

Result = dict[str, float]


@contextmanager
def redis(folder: str) -> Iterator[str]:
    """A Redis until the end of the block; its URL."""
    assert PROGRAM is not None
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    options = f"--bind {HOST} --port {port} --dir {folder} --appendonly yes --save".split()
    process = subprocess.Popen([PROGRAM, *options, ""], stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection((HOST, port)).close()
                break
            except OSError:
                time.sleep(0.01)
        yield f"redis://{HOST}:{port}"
    finally:
        process.kill()
        process.wait()


def rate(collector: Collector, folder: str, name: str, events: int, threads: int) -> Result:
    """As `throughput.measure`, beside a Redis."""
    with redis(folder) as os.environ[REDIS_VARIABLE]:
        return throughput.measure(collector, folder, name, events, threads)


def calls(collector: Collector, folder: str, rounds: int, number: int) -> dict[str, list[float]]:
    """Seconds of the calling thread for each call in a storm, round by round."""
    with redis(folder) as os.environ[REDIS_VARIABLE]:
        clients = {name: subject(name, folder) for name in (MIRROR, IN_REDIS)}
        for client in clients.values():
            client.start(collector.url, room=number + 1_000)
        took: dict[str, list[float]] = {name: [] for name in clients}
        shuffled = random.Random(1)
        for _ in range(1 + rounds):
            for name in shuffled.sample(list(clients), len(clients)):
                client = clients[name]
                assert isinstance(client, Mirror)
                made = [partial(client.ready, sample(n))() for n in range(_STORM)]
                with frozen():
                    took[name].append(timed(made * (number // _STORM)))
                client.flush()
    return {name: of[1:] for name, of in took.items()}


def run(effort: Effort) -> Figure:
    events, rounds = effort.pick(10_000, 300), effort.pick(3, 1)
    names = (MIRROR, SPOOLED, IN_REDIS, *PEERS)
    results: dict[str, list[Result]] = {name: [] for name in names}
    shuffled = random.Random(1)
    for number in range(rounds):
        effort.say(f"round {number + 1} of {rounds}")
        for name in shuffled.sample(names, len(names)):
            child = Child(rate, name=name, events=events, threads=1)
            results[name].append(child.result())
    took = Child(calls, rounds=effort.pick(8, 1), number=effort.pick(2_000, 100)).result()
    seconds = {name: [1 / each["rate"] for each in of] for name, of in results.items()}
    table = Table(
        f"With the spool in a Redis: {events:,} events",
        ["client", "events a second", "CPU, seconds"],
        [
            [
                name,
                Spread.of([each["rate"] for each in of]).text(),
                Spread.of([each["cpu"] for each in of]).text(),
            ]
            for name, of in results.items()
        ],
        "Redis is a process beside it, on the same machine, append-only and synced every second.",
    )
    peer = best(seconds, PEERS)
    targets = [
        Target(
            f"with the spool in a Redis: throughput, {events:,} events, against {peer} without one",
            ratio(seconds[peer], seconds[IN_REDIS]),
            at_least=1,
        ),
        Target(
            "with it, the calling thread's time against that without a spool",
            ratio(took[IN_REDIS], took[MIRROR]),
            at_most=1.1,
        ),
    ]
    return Figure("redis", [table], targets, raw={"rates": results, "calls": took})
