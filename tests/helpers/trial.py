"""The trial by fire: workers capture errors, all on one spool, and are killed at random, while the
server fails in every way it knows. In the end everything that was spooled must have arrived.

    python -m trial --seconds 60 --workers 4 --seed 1

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
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.integrations import Integration
from sentry_sdk.transport import Transport

import sentry_segment.delivery.spooled
import sentry_segment.spool.sqlite
from collector import Call, Collector, Reply
from sentry_segment import SegmentIntegration
from sentry_segment.spool.contract import SpoolError
from sentry_segment.spool.sqlite import SqliteSpool

WRITE_KEY = "wk_0123456789_trial"
LEASE = 2.0  # seconds: so that even a short trial sees leases lapse
PATIENCE = 120.0  # seconds for what takes some, on a machine that is not busy
LINE = 33  # bytes of an event id and a newline, in the workers' notes


class MoodyCollector(Collector):
    """Segment, in a mood that changes every second or so. Keeps ids alone: a trial may be long."""

    MOODS: tuple[tuple[str, int], ...] = (
        ("up", 5),
        ("500", 1),
        ("503 at times", 2),
        ("429 with Retry-After", 1),
        ("resets", 1),
        ("takes it, then resets", 1),
        ("never answers", 1),
        ("down", 2),
    )

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.arrived: Counter[str] = Counter()
        self.moods: Counter[str] = Counter()
        self.mood = "up"
        self._count = threading.Lock()
        self._over = threading.Event()
        self._released = threading.Event()
        self._moody = threading.Thread(target=self._change_moods, name="moods")

    @contextmanager
    def moody(self) -> Iterator[None]:
        """Have its mood change, until the end of the block."""
        self._moody.start()
        try:
            yield
        finally:
            self._over.set()
            self._moody.join()

    def _change_moods(self) -> None:
        moods, weights = zip(*self.MOODS, strict=True)
        while not self._over.is_set():
            [self.mood] = self.random.choices(moods, weights)
            self.moods[self.mood] += 1
            if self.mood == "down":
                self.stop()
            self._over.wait(self.random.uniform(0.2, 2.0))
            if self.mood == "down":
                self.start()
            self.mood = "up"
            released, self._released = self._released, threading.Event()
            released.set()

    def take_call(self, call: Call) -> Reply:
        mood = self.mood
        if mood == "never answers":
            return Reply(0, delay=self._released)
        if mood in ("500", "resets"):
            return Reply(500 if mood == "500" else 0)
        if mood == "429 with Retry-After":
            return Reply(429, {"Retry-After": "1"})
        if mood == "503 at times" and self.random.random() < 0.5:
            return Reply(503)
        messages = call.json.get("batch", [call.json])
        with self._count:
            self.arrived.update(message["messageId"] for message in messages)
        return Reply(0) if mood == "takes it, then resets" else Reply()


# A worker


class Discarding(Transport):
    """Sentry, out of the way."""

    def capture_envelope(self, envelope: Any) -> None:
        pass


def work(host: str, spool: str, notes: str, seed: int) -> None:
    """Capture errors until somebody puts an end to it; with no `notes`, empty the spool."""
    logging.getLogger("sentry_segment").setLevel(logging.CRITICAL)  # a line for every fault
    sentry_segment.spool.sqlite.LEASE = LEASE  # type: ignore[attr-defined]
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
    add = SqliteSpool.add

    def add_and_note(self: SqliteSpool, bodies: Sequence[bytes]) -> int:
        try:
            added = add(self, bodies)
        except SpoolError as error:
            os.write(failed, f"{error}\n".encode())
            raise
        ids = (json.loads(body)["messageId"] for body in bodies[:added])
        os.write(file, "".join(f"{event_id}\n" for event_id in ids).encode())
        return added

    SqliteSpool.add = add_and_note  # type: ignore[method-assign]


# The trial


@dataclass
class Report:
    """What became of the events."""

    seed: int
    seconds: float = 0.0
    kills: int = 0
    ends: int = 0
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
                f"the server was       {moods}",
                f"captured             {self.captured:>9,}",
                f"spooled              {self.spooled:>9,}",
                f"delivered            {self.delivered:>9,}",
                f"repeated             {self.repeated:>9,}   deliveries of what had arrived before",
                f"lost before spooled  {self.lost_before_spooled:>9,}   in memory when killed",
                f"lost                 {self.lost:>9,}   of the spooled",
                f"left in the spool    {self.left_in_spool:>9,}",
                f"the file's integrity {self.integrity:>9}",
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
        Workers(collector.url, folder, str(Path(folder, "spool.db")), choice) as started,
    ):
        spool = str(Path(folder, "spool.db"))
        running = [started.start() for _ in range(workers)]
        said = 0.0
        with collector.moody():
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
        while messages_in(spool) and time.monotonic() < deadline:
            time.sleep(0.1)
        last.end()
        report.seconds = time.monotonic() - begun
        fill(report, folder, spool, collector)
    return report


def noted(folder: str, kind: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).glob(f"*.{kind}")) // LINE


def ids(folder: str, kind: str) -> set[str]:
    # A kill may cut the last line short.
    texts = (path.read_text() for path in Path(folder).glob(f"*.{kind}"))
    return {line for text in texts for line in text.split("\n") if len(line) == LINE - 1}


def messages_in(spool: str) -> int:
    with closing(sqlite3.connect(spool, timeout=10.0)) as db:
        count: int = db.execute("SELECT COUNT(*) FROM messages").fetchone()[0]
        return count


def fill(report: Report, folder: str, spool: str, collector: MoodyCollector) -> None:
    captured, spooled = ids(folder, "captured"), ids(folder, "spooled")
    arrived = set(collector.arrived)
    report.captured = len(captured)
    report.spooled = len(spooled)
    report.delivered = len(arrived)
    report.repeated = collector.arrived.total() - len(arrived)
    report.lost_before_spooled = len(captured - spooled - arrived)
    report.lost = len(spooled - arrived)
    report.left_in_spool = messages_in(spool)
    for path in Path(folder).glob("*.failed"):
        report.failures.update(path.read_text().replace(folder, "").splitlines())
    report.moods = dict(collector.moods)
    with closing(sqlite3.connect(spool)) as db:
        report.integrity = db.execute("PRAGMA integrity_check").fetchone()[0]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/trial", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one each time")
    given = parser.parse_args()
    seed = random.randrange(1 << 30) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    report = run(given.seconds, given.workers, seed, progress=lambda line: print(line, flush=True))
    print(f"\n{report}")
    return 0 if report.is_good else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        sys.exit(main())
