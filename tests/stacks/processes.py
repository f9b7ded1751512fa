"""Processes of the examples, on a collector: started, signalled, and ended after the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from collector import Collector

T = TypeVar("T")

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
WRITE_KEY = "wk_0123456789_shop"
PATIENCE = 60.0
"""Seconds until a test gives up on what should have happened long before."""


@dataclass
class Process:
    """A process under way, whose output goes to a file."""

    popen: subprocess.Popen[bytes]
    log: Path
    command: tuple[str, ...]

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def end(self) -> int:
        """Wait for its end; its exit status."""
        try:
            return self.popen.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end\n{self.output}") from None

    def kill_all(self) -> None:
        """End it and what it has started, where it has not ended by itself.

        Ray's workers have process groups of their own; the session is common to all.
        """
        while members := self._session():
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.popen.poll()  # or it stays a member, as a zombie
        self.popen.wait(timeout=PATIENCE)

    def _session(self) -> list[int]:
        """The processes of its session that have not ended."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                pid = int(entry.name)
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if os.getsid(pid) == self.popen.pid and state != "Z":
                    found.append(pid)
        return found


@dataclass
class Stack:
    """Starts the examples' processes, on one collector, and ends them after the test."""

    collector: Collector
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    _started: list[Process] = field(default_factory=list)

    def start(self, *command: str, **environment: str) -> Process:
        """Start `python COMMAND...` in the folder of the examples."""
        log = self.folder / f"{len(self._started)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [self.python, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=EXAMPLES,
                env={**self._base(), **self.environment, **environment},
                start_new_session=True,
            )
        self._started.append(Process(popen, log, command))
        return self._started[-1]

    def run(self, *command: str, **environment: str) -> Process:
        """Start a process that is to end well, and wait for its end."""
        process = self.start(*command, **environment)
        assert process.end() == 0, process.output
        return process

    def end_all(self) -> None:
        for process in self._started:
            process.kill_all()

    def _base(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and not name.startswith(("SENTRY_", "SEGMENT_"))
        }
        return {
            **kept,
            "PYTHONPATH": str(EXAMPLES),
            "PYTHONUNBUFFERED": "1",
            "SENTRY_DSN": self.collector.dsn,
            "SEGMENT_HOST": self.collector.url,
            "SEGMENT_WRITE_KEY": WRITE_KEY,
            "SHOP_SECRET_KEY": "of the tests",
        }


@contextmanager
def stack(
    collector: Collector, folder: Path, python: str = sys.executable, **environment: str
) -> Iterator[Stack]:
    running = Stack(collector, folder, environment, python)
    try:
        yield running
    finally:
        running.end_all()


def wait_until(condition: Callable[[], T], timeout: float = PATIENCE) -> T:
    """Ask again and again until the condition holds, or the time is over; the last answer."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer
