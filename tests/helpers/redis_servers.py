"""A Redis of a test's own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from collector import PATIENCE

HOST = "127.0.0.1"
PROGRAM = shutil.which("redis-server")
KEEPING = ("--appendonly", "yes", "--appendfsync", "always")
"""The options by which it keeps each write before it answers."""


class Redis:
    """A Redis on a free port of 127.0.0.1, with its data in a folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start it, on the port that it had before."""
        assert PROGRAM is not None
        for _ in range(5):  # another process may take the port first
            port = self.port or _free_port()
            given = f"--bind {HOST} --port {port} --dir {self.folder}".split()
            self._process = process = subprocess.Popen(
                [PROGRAM, *given, "--save", "", *self.options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            end = time.monotonic() + PATIENCE
            while process.poll() is None and time.monotonic() < end:
                if _answers(port):
                    self.port = port
                    return
                time.sleep(0.01)
        raise AssertionError("redis-server does not start")

    def kill(self) -> None:
        """As a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=PATIENCE)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It hangs for a while: it takes connections and commands, and answers nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def run(self, *command: str | bytes | int) -> Any:
        """What it answers to a command."""
        import redis

        with closing(redis.Redis(host=HOST, port=self.port)) as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]


@contextmanager
def redis_running(folder: Path, *options: str) -> Iterator[Redis]:
    """A Redis until the end of the block. Without a redis-server the test is skipped."""
    if PROGRAM is None:
        advice = "there is no redis-server; on Debian and Ubuntu: apt install redis-server"
        assert "CI" not in os.environ, advice
        pytest.skip(advice)
    server = Redis(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Its URL alone."""
    with redis_running(folder) as server:
        yield server.url


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=PATIENCE) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16)[:5] in (b"+PONG", b"-NOAU")
    except OSError:
        return False
