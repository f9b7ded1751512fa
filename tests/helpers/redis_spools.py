"""Spools in a Redis, and servers that behave as Redis does on a bad day."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from redis_servers import HOST, Redis
from sentry_segment.spool.contract import SpoolError
from sentry_segment.spool.redis import RedisSpool

PASSWORD = "p%40ss%2Fw:rd"

Warnings = list[tuple[str, str]]


def spool_at(url: str, warnings: Warnings | None = None) -> RedisSpool:
    def warn(name: str, text: str) -> None:
        if warnings is not None:
            warnings.append((name, text))

    return RedisSpool(url, 10_000_000, "key", warn)


def refusal(call: Callable[[], object]) -> str:
    """What is said where it can't be used."""
    with pytest.raises(SpoolError) as raised:
        call()
    return str(raised.value)


def spool_bytes(server: Redis) -> int:
    return int(server.run("HGET", "{sentry-segment}:meta", "bytes"))


def let_leases_lapse(server: Redis) -> None:
    """As time does."""
    for key in server.run("KEYS", "{sentry-segment}:leases:*"):
        for writer in server.run("ZRANGE", key, 0, -1):
            server.run("ZADD", key, 0, writer)


class Answering:
    """A server that answers everything in the same way, byte by byte if `drips`."""

    def __init__(self, answer: bytes, drips: bool = False) -> None:
        self._listening = socket.create_server((HOST, 0))
        self.url = f"redis://{HOST}:{self._listening.getsockname()[1]}"
        self._answer = answer
        self._drips = drips
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            connection.settimeout(60.0)
            with connection, suppress(OSError):
                if connection.recv(1) == b"!":
                    return
                while True:
                    self._send(connection)
                    if not self._answer or not connection.recv(65_536):
                        break

    def _send(self, connection: socket.socket) -> None:
        if not self._drips:
            connection.sendall(self._answer)
            return
        for byte in self._answer:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    def stop(self) -> None:
        with socket.create_connection(self._listening.getsockname()) as connection:
            connection.sendall(b"!")
        self._thread.join()
        self._listening.close()


@contextmanager
def breaking_proxy(server: Redis) -> Iterator[tuple[str, threading.Event]]:
    """A way to it on which an answer is cut off after its first byte, while the event is set."""
    breaks = threading.Event()
    listening = socket.create_server((HOST, 0))

    def pass_on(client: socket.socket) -> None:
        behind = socket.create_connection((HOST, server.port))
        with client, behind, suppress(OSError):
            while data := client.recv(65_536):
                behind.sendall(data)
                answer = behind.recv(65_536)
                client.sendall(answer[:1] if breaks.is_set() else answer)
                if breaks.is_set():
                    return

    def serve() -> None:
        while True:
            client, _ = listening.accept()
            if over.is_set():
                client.close()
                return
            thread = threading.Thread(target=pass_on, args=(client,), daemon=True)
            thread.start()

    over = threading.Event()
    serving = threading.Thread(target=serve)
    serving.start()
    try:
        yield f"redis://{HOST}:{listening.getsockname()[1]}", breaks
    finally:
        over.set()
        socket.create_connection(listening.getsockname()).close()
        serving.join()
        listening.close()
