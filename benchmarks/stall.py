"""How long another thread of the application has to wait while errors are mirrored.

A thread that never pauses notes the largest gap between two of its own steps: while the first
error is mirrored, for which a thread, TLS and a connection are set up, and during a storm of them.
"""

from __future__ import annotations

import gc
import random
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

import certifi
import trustme

from benchmarks.child import Child
from benchmarks.collector import HOST, Collector
from benchmarks.events import sample
from benchmarks.figures import Effort, Figure, Table
from benchmarks.spread import Spread
from benchmarks.subjects import MIRROR, NOTHING, PEERS, SPOOLED, subject

_AT_REST, _FIRST, _STORM = "nothing happens", "the first error", "a storm of errors"


class Ticker:
    """The other thread. Within `with`; then `gap` is the longest it had to wait, in seconds."""

    gap = 0.0

    def __enter__(self) -> Ticker:
        self._end = False
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._tick)
        self._thread.start()
        self._running.wait()
        return self

    def _tick(self) -> None:
        self._running.set()
        before = time.perf_counter()
        while not self._end:
            now = time.perf_counter()
            if now - before > self.gap:
                self.gap = now - before
            before = now

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end = True
        self._thread.join()


def measure(
    collector: Collector, folder: str, name: str, bundle: str, seconds: float
) -> dict[str, float]:
    client = subject(name, folder)
    client.start(collector.url, room=1_000_000, ca_certs=bundle)
    first = client.ready(sample(0))
    samples = [sample(number) for number in range(1000)]
    gc.collect()
    gc.freeze()  # a collection that goes through all of these would be a stall of our own making
    with Ticker() as at_rest:
        time.sleep(seconds)
    with Ticker() as at_first:
        first()
        if name == NOTHING:
            time.sleep(seconds)
        else:
            collector.wait_for(1)
    with Ticker() as at_storm:
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            client.ready(samples[number % 1000])()
            number += 1
    return {_AT_REST: at_rest.gap, _FIRST: at_first.gap, _STORM: at_storm.gap}


def run(effort: Effort) -> Figure:
    names, rounds = (NOTHING, MIRROR, SPOOLED, *PEERS), effort.pick(7, 1)
    gaps: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    shuffled = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        certificate, bundle = _certificates(Path(folder))
        for number in range(rounds):
            effort.say(f"round {number + 1} of {rounds}")
            for name in shuffled.sample(names, len(names)):
                child = Child(
                    measure,
                    certificate=certificate,
                    environment={"REQUESTS_CA_BUNDLE": bundle},
                    name=name,
                    bundle=bundle,
                    seconds=effort.pick(25, 10) / 100,
                )
                gaps[name].append(child.result())
    columns = (_AT_REST, _FIRST, _STORM)
    table = Table(
        "Stall of another thread, milliseconds: its longest wait",
        ["client", *columns],
        [
            [name, *(Spread.of([each[column] for each in of]).text(1e3) for column in columns)]
            for name, of in gaps.items()
        ],
        "Two busy threads of one interpreter hand over every 5 milliseconds, and three wait for "
        "each other: a multiple of 5 is Python's own share.",
    )
    return Figure("stall", [table], raw=gaps)


def _certificates(folder: Path) -> tuple[str, str]:
    """A server's certificate; and the usual authorities' with the one that signed it.

    All of them, for reading them is much of what a first connection costs.
    """
    authority = trustme.CA()
    certificate, bundle = folder / "server.pem", folder / "bundle.pem"
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(certificate))
    bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + authority.cert_pem.bytes())
    return str(certificate), str(bundle)
