"""A Redis of a test's own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from stacks.processes import PATIENCE, wait_until

HOST = "127.0.0.1"


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
