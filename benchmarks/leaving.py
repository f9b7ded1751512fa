"""How long the exit of a process takes, and what it still delivers."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from uuid import uuid4

from benchmarks.child import Child
from benchmarks.collector import Collector, CollectorProcess
from benchmarks.events import sample
from benchmarks.figures import Effort, Figure, Table
from benchmarks.spread import Spread
from benchmarks.subjects import MIRROR, NOTHING, PEERS, SPOOLED, subject


def measure(collector: Collector, folder: str, name: str, messages: int) -> None:
    client = subject(name, folder)
    client.start(collector.url, room=messages + 1000)
    client.ready(sample(0))()
    client.flush()
    pool = [sample(number) for number in range(100)]
    for number in range(messages):
        client.ready(pool[number % 100], uuid4().hex)()
    pool.clear()  # or its end would be part of the exit's
    print(time.monotonic(), flush=True)


def leave(name: str, messages: int) -> tuple[float, int]:
    """Seconds from a process's last statement to its end, and messages that arrived."""
    child = Child(measure, name=name, messages=messages)
    with tempfile.TemporaryDirectory() as folder, CollectorProcess() as collector:
        with child.started(collector, folder) as process:
            assert process.stdout is not None
            last = float(process.stdout.readline() or "nan")
            limit = threading.Timer(60.0, process.kill)
            limit.start()
            status = process.wait()  # a timeout here would look only every 50 milliseconds
            seconds = time.monotonic() - last
            limit.cancel()
        if status != 0:
            raise RuntimeError(f"the process with {name} ended with status {status}")
        time.sleep(0.05)  # the collector counts after it has answered
        return seconds, collector.messages()


def run(effort: Effort) -> Figure:
    names = (NOTHING, MIRROR, SPOOLED, *PEERS)
    amounts = (0, 200) if effort.quick else (0, 1, 10_000)
    rounds = effort.pick(4, 1)
    taken: dict[str, dict[int, list[tuple[float, int]]]] = {n: {} for n in names}
    shuffled = random.Random(1)
    for number in range(rounds):
        effort.say(f"round {number + 1} of {rounds}")
        for messages in amounts:
            for name in shuffled.sample(names, len(names)):
                taken[name].setdefault(messages, []).append(leave(name, messages))
    table = Table(
        "Exit, milliseconds, and how many of the waiting messages arrived",
        ["client", *(f"{n:,} waiting" for n in amounts)],
        [
            [name, *(_cell(rounds_of, messages) for messages, rounds_of in of.items())]
            for name, of in taken.items()
        ],
        "With a spool, what did not arrive is sent by the next process.",
    )
    return Figure("exit", [table], raw=taken)


def _cell(rounds: list[tuple[float, int]], messages: int) -> str:
    text = Spread.of([seconds for seconds, _ in rounds]).text(1e3)
    if messages == 0:
        return text
    # One message was delivered before, so that there is a thread and a connection.
    arrived = Spread.of([max(count - 1, 0) for _, count in rounds]).median
    return f"{text}; {arrived:,.0f} arrived"
