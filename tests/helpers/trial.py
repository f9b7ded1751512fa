"""The trial by fire: workers capture errors, all on one spool, and are killed at random, while the
server fails in every way it knows. In the end everything that was spooled must have arrived.

    python -m trial --seconds 60 --workers 4 --seed 1
    python -m trial --redis      the spool is in a Redis, which is killed and started again as well

Every worker notes on disk which events it has captured, and which of them were committed to the
spool. Sentry's own transport is one that discards everything: what is tried here is the mirror.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.integrations import Integration
from sentry_sdk.transport import Transport

import sentry_segment.delivery.spooled
import sentry_segment.spool.redis
import sentry_segment.spool.sqlite
from moods import MoodyCollector
from sentry_segment import SegmentIntegration
from sentry_segment.spool.contract import SpoolError
from trial_places import SPOOLS, AFile, ARedis, TrialPlace

WRITE_KEY = "wk_0123456789_trial"
LEASE = 2.0  # seconds: so that even a short trial sees leases lapse
PATIENCE = 120.0  # seconds for what takes some, on a machine that is not busy
LINE = 33  # bytes of an event id and a newline, in the workers' notes


# A worker


class Discarding(Transport):
    """Sentry, out of the way."""

    def capture_envelope(self, envelope: Any) -> None:
        pass


def work(host: str, spool: str, notes: str, seed: int) -> None:
    """Capture errors until somebody puts an end to it; with no `notes`, empty the spool."""
    logging.getLogger("sentry_segment").setLevel(logging.CRITICAL)  # a line for every fault
    for module in (sentry_segment.spool.sqlite, sentry_segment.spool.redis):
        module.LEASE = LEASE  # type: ignore[attr-defined]
    sentry_segment.delivery.spooled._TEND_INTERVAL = LEASE / 3
    if notes:
        note_commits(note(notes, "spooled"), note(notes, "failed"))
    segment = SegmentIntegration(WRITE_KEY, host=host, spool=spool, timeout=1.0)
    sentry_sdk.init(
        dsn="https://public@sentry.example.com/1",
        transport=Discarding,
        integrations=[segment],
        shutdown_timeout=0.5,
    )
    if not notes:
        if not hasattr(Integration, "setup_once_with_options"):
            # Older SDKs: it looks into the spool with its first message.
            sentry_sdk.set_user({"id": "the last"})
            sentry_sdk.capture_event({"exception": {"values": [{"type": "LastError"}]}})
        sys.stdin.read()
        return
    captured = note(notes, "captured")
    # A handler that raises SystemExit is not enough here: Sentry's serializer swallows it at times.
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    choice = random.Random(seed)
    sentry_sdk.set_user({"id": f"worker-{os.getpid()}"})
    while not signals:
        for _ in range(choice.choice((1, 1, 1, 10, 100))):
            event_id = uuid.uuid4().hex
            error = {"type": "TrialError", "value": "x" * choice.randrange(100)}
            sentry_sdk.capture_event({"event_id": event_id, "exception": {"values": [error]}})
            os.write(captured, f"{event_id}\n".encode())
        time.sleep(choice.uniform(0.0, 0.1))


def note(notes: str, kind: str) -> int:
    return os.open(f"{notes}.{kind}", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def note_commits(file: int, failed: int) -> None:
    """Have every message noted once it is committed to the spool, and every failure of that."""
    for kind in SPOOLS:
        _note_commits_of(kind, file, failed)


def _note_commits_of(kind: Any, file: int, failed: int) -> None:
    add = kind.add

    def add_and_note(self: Any, bodies: Sequence[bytes]) -> Any:
        try:
            added = add(self, bodies)
        except SpoolError as error:
            os.write(failed, f"{error}\n".encode())
            raise
        ids = (json.loads(body)["messageId"] for body in bodies[:added])
        os.write(file, "".join(f"{event_id}\n" for event_id in ids).encode())
        return added

    kind.add = add_and_note


# The trial


@dataclass
class Report:
    """What became of the events."""

    seed: int
    seconds: float = 0.0
    kills: int = 0
    ends: int = 0
    place_kills: int = 0
    captured: int = 0
    spooled: int = 0
    delivered: int = 0
    repeated: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    lost_before_spooled: int = 0
    lost: int = 0
    left_in_spool: int = 0
    integrity: str = ""
    moods: dict[str, int] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return (self.lost, self.left_in_spool, self.integrity) == (0, 0, "ok")

    def __str__(self) -> str:
        moods = ", ".join(f"{mood} {count}x" for mood, count in sorted(self.moods.items()))
        return "\n".join(
            (
                f"seed                 {self.seed:>9}",
                f"seconds              {self.seconds:>9.1f}",
                f"workers killed       {self.kills:>9,}   and {self.ends:,} ended by SIGTERM",
                *([f"Redis killed         {self.place_kills:>9,}"] if self.place_kills else []),
                f"the server was       {moods}",
                f"captured             {self.captured:>9,}",
                f"spooled              {self.spooled:>9,}",
                f"delivered            {self.delivered:>9,}",
                f"repeated             {self.repeated:>9,}   deliveries of what had arrived before",
                f"lost before spooled  {self.lost_before_spooled:>9,}   in memory when killed",
                f"lost                 {self.lost:>9,}   of the spooled",
                f"left in the spool    {self.left_in_spool:>9,}",
                f"integrity            {self.integrity:>9}",
                f"failed commits       {self.failures.total():>9,}   {dict(self.failures) or ''}",
            )
        )


@dataclass(frozen=True)
class Worker:
    process: subprocess.Popen[bytes]
    captured: Path

    @property
    def has_begun(self) -> bool:
        return self.captured.exists() and self.captured.stat().st_size > 0

    def end(self) -> None:
        self.process.communicate(timeout=PATIENCE)  # which closes its standard input


class Workers:
    """The processes of a trial. None of them outlives it."""

    def __init__(self, host: str, folder: str, spool: str, choice: random.Random) -> None:
        self._host = host
        self._folder = folder
        self._spool = spool
        self._choice = choice
        self._started: list[Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._started:
            worker.process.kill()  # which does nothing to one that has ended
            worker.end()

    def start(self) -> Worker:
        """Start one that captures errors."""
        return self._start(str(Path(self._folder, f"{len(self._started)}")))

    def start_the_last(self) -> Worker:
        """Start one that only sends what is left."""
        return self._start("")

    def _start(self, notes: str) -> Worker:
        arguments = [self._host, self._spool, notes, str(self._choice.randrange(1 << 30))]
        path = os.pathsep.join(each for each in sys.path if each)
        process = subprocess.Popen(
            [sys.executable, "-m", "trial", "--work", *arguments],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        worker = Worker(process, Path(f"{notes}.captured"))
        self._started.append(worker)
        return worker


def run(
    seconds: float,
    workers: int,
    seed: int,
    least_kills: int = 1,
    progress: Callable[[str], object] = lambda _: None,
    kind: Callable[[str, str], TrialPlace] = AFile,
) -> Report:
    """Hold a trial. What it leaves on disk is removed.

    It takes so many seconds, and longer where by then too few workers were killed, or nothing was
    spooled, because the machine is slow.
    """
    report = Report(seed)
    choice = random.Random(seed)
    collector = MoodyCollector(seed)
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        collector,
        stopping(kind(folder, WRITE_KEY)) as place,
        Workers(collector.url, folder, place.spool, choice) as started,
    ):
        running = [started.start() for _ in range(workers)]
        said = 0.0
        with collector.moody(), place.unruly(choice):
            while (elapsed := time.monotonic() - begun) < seconds or (
                report.kills < least_kills or not noted(folder, "spooled")
            ):
                if elapsed > seconds + PATIENCE:
                    raise TimeoutError(f"{report.kills} workers killed, {elapsed:.0f} s gone")
                time.sleep(choice.expovariate(2.0))
                victim = choice.choice(running)
                if victim.has_begun:
                    running.remove(victim)
                    if choice.random() < 0.8:
                        victim.process.kill()
                        report.kills += 1
                    else:
                        victim.process.terminate()
                        report.ends += 1
                    victim.end()
                    running.append(started.start())
                if elapsed >= said + 1.0:
                    said = elapsed
                    progress(
                        f"{elapsed:5.0f} s   captured {noted(folder, 'captured'):,}   "
                        f"spooled {noted(folder, 'spooled'):,}   "
                        f"arrived {len(collector.arrived):,}   "
                        f"killed {report.kills}   the server: {collector.mood}"
                    )
            for worker in running:
                worker.process.kill()
                report.kills += 1
                worker.end()
        progress("the last process: sends what is left")
        last = started.start_the_last()
        deadline = time.monotonic() + PATIENCE
        while place.messages() and time.monotonic() < deadline:
            time.sleep(0.1)
        last.end()
        report.seconds = time.monotonic() - begun
        fill(report, folder, place, collector)
    return report


@contextmanager
def stopping(place: TrialPlace) -> Iterator[TrialPlace]:
    try:
        yield place
    finally:
        place.stop()


def noted(folder: str, kind: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).glob(f"*.{kind}")) // LINE


def ids(folder: str, kind: str) -> set[str]:
    # A kill may cut the last line short.
    texts = (path.read_text() for path in Path(folder).glob(f"*.{kind}"))
    return {line for text in texts for line in text.split("\n") if len(line) == LINE - 1}


def fill(report: Report, folder: str, place: TrialPlace, collector: MoodyCollector) -> None:
    captured, spooled = ids(folder, "captured"), ids(folder, "spooled")
    arrived = set(collector.arrived)
    report.captured = len(captured)
    report.spooled = len(spooled)
    report.delivered = len(arrived)
    report.repeated = collector.arrived.total() - len(arrived)
    report.lost_before_spooled = len(captured - spooled - arrived)
    report.lost = len(spooled - arrived)
    report.left_in_spool = place.messages()
    report.place_kills = place.kills
    for path in Path(folder).glob("*.failed"):
        report.failures.update(path.read_text().replace(folder, "").splitlines())
    report.moods = dict(collector.moods)
    report.integrity = place.integrity()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/trial", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one each time")
    parser.add_argument("--redis", action="store_true", help="the spool is in a Redis")
    given = parser.parse_args()
    seed = random.randrange(1 << 30) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    report = run(
        given.seconds,
        given.workers,
        seed,
        progress=lambda line: print(line, flush=True),
        kind=ARedis if given.redis else AFile,
    )
    print(f"\n{report}")
    return 0 if report.is_good else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        sys.exit(main())
