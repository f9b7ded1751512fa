"""What the tests of the job stacks share: processes of the examples, a Redis, and what arrived."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from demo.collector import Call, Collector, Reply

T = TypeVar("T")

__all__ = ["Call", "Collector", "Reply"]  # imported here alone

HOST = "127.0.0.1"
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
WRITE_KEY = "wk_0123456789_jobs"
RELEASE = "shop@1.4.2"
PATIENCE = 30.0
"""Seconds until a test gives up on what should have happened long before."""


# Processes


@dataclass
class Process:
    """A process under way, whose output goes to a file."""

    popen: subprocess.Popen[bytes]
    log: Path

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
        """End it and what it has started, where it has not ended by itself."""
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait(timeout=PATIENCE)


@dataclass
class Stack:
    """Starts the examples' processes, on one collector, and ends them after the test."""

    collector: Collector
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    _started: list[Process] = field(default_factory=list)

    def start(self, *command: str, **environment: str) -> Process:
        """Start `python COMMAND...` in the folder of the examples."""
        log = self.folder / f"{len(self._started)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=EXAMPLES,
                env={**self._base(), **self.environment, **environment},
                start_new_session=True,
            )
        self._started.append(Process(popen, log))
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
        }


@contextmanager
def stack(collector: Collector, folder: Path, **environment: str) -> Iterator[Stack]:
    running = Stack(collector, folder, environment)
    try:
        yield running
    finally:
        running.end_all()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis of the test's own on a free port of 127.0.0.1; its URL."""
    program = shutil.which("redis-server")
    assert program, "there is no redis-server; on Debian and Ubuntu: apt install redis-server"
    process, port = _start_redis(program, folder)
    try:
        yield f"redis://{HOST}:{port}/0"
    finally:
        process.kill()
        process.wait(timeout=PATIENCE)


def _start_redis(program: str, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(5):  # another process may take the port first
        with socket.create_server((HOST, 0)) as free:
            port = free.getsockname()[1]
        options = f"--bind {HOST} --port {port} --appendonly no --dir".split()
        process = subprocess.Popen(
            [program, *options, str(folder), "--save", ""],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        if wait_until(partial(_is_decided, process, port)) and process.poll() is None:
            return process, port
    raise AssertionError("redis-server does not start")


def _is_decided(process: subprocess.Popen[bytes], port: int) -> bool:
    return process.poll() is not None or _is_redis_up(port)


def _is_redis_up(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=PATIENCE) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def wait_until(condition: Callable[[], T], timeout: float = PATIENCE) -> T:
    """Ask again and again until the condition holds, or the time is over; the last answer."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


# What arrived


@dataclass(frozen=True)
class Mirrored:
    """What is to be said of one error, in the message of it and in Sentry's event."""

    user: str
    error: str
    """The exception's type."""
    about: str
    """The exception's text, which Sentry alone is sent: it names whose error it is."""
    transaction: str
    release: str = RELEASE


def mirrored(collector: Collector) -> list[Mirrored]:
    """Every message that arrived, with the text of the Sentry event that has its id, sorted.

    So an error that arrived twice is in it twice, and one under a wrong user with that user. What
    the messages say of transaction and release must be what the events say.
    """
    texts = {event["event_id"]: exception(event)["value"] for event in collector.events}
    found = []
    for message in collector.messages:
        said = message["properties"]
        found.append(
            Mirrored(
                user=message["userId"],
                error=said["exceptionType"],
                about=texts[message["messageId"]],
                transaction=said["transaction"],
                release=said["release"],
            )
        )
    return sorted(found, key=str)


def exception(event: dict[str, Any]) -> dict[str, Any]:
    """The last exception value, which is the one that was raised."""
    value: dict[str, Any] = event["exception"]["values"][-1]
    return value


def wait_for_events(collector: Collector, number: int) -> None:
    """Wait until Sentry's side has so many events."""
    arrived = collector.wait_for(lambda: len(collector.events) >= number, PATIENCE)
    assert arrived, f"expected {number} events, got {texts_of(collector.events)}"


def texts_of(events: Sequence[dict[str, Any]]) -> Counter[str]:
    """How often each exception's text is among the events."""
    return Counter(str(exception(event)["value"]) for event in events)
