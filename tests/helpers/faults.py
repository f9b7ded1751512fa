"""A collector that misbehaves on command.

collector.answer = in_turn(fault(then=reset), 503)  # then it is well again
collector.answer = refuse(lambda message: message["userId"] == "u1")
before_reading(collector, silent)
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from collector import Call, Collector, Reply, Takeover

Answer = Callable[[Call], Reply | None]

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\n"


# Answers


def fault(answer: bytes = b"", then: Takeover | None = None, taken: bool = False) -> Reply:
    """Answers these bytes, be they HTTP or not, goes on with `then`, and closes the connection.

    `taken`: the server has accepted the messages, whatever the client gets to know of it.
    """

    def take_over(connection: socket.socket, closing: threading.Event) -> None:
        connection.sendall(answer)
        if then is not None:
            then(connection, closing)

    return Reply(200 if taken else 0, takeover=take_over)


def in_turn(*given: int | Reply) -> Answer:
    """Answers one after the other, then as usual."""
    left = list(given)

    def answer(call: Call) -> Reply | None:
        reply = left.pop(0) if left else None
        return Reply(reply) if isinstance(reply, int) else reply

    return answer


def refuse(predicate: Callable[[dict[str, Any]], bool], status: int = 400) -> Answer:
    """Refuses a request that has a message for which the predicate holds."""
    return lambda call: Reply(status) if any(map(predicate, call.messages)) else None


def knows_batch_alone(status: int = 404) -> Answer:
    """Knows no path but that for batches, and answers so to all others."""
    return lambda call: None if call.path.endswith("/v1/batch") else Reply(status)


# What is done with a connection


def silent(connection: socket.socket, closing: threading.Event) -> None:
    """Nothing more, with the connection left open."""
    closing.wait()


def reset(connection: socket.socket, closing: threading.Event) -> None:
    """The connection is reset: a client that waits for more gets an error, not an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Not close(), which waits for the handler's files, nor shutdown(), which is an end.
    os.close(connection.detach())


def dripping(drop: bytes = b"x") -> Takeover:
    """A drop now and then, without an end, until the client has enough."""

    def drip(connection: socket.socket, closing: threading.Event) -> None:
        while not closing.wait(0.01):
            connection.sendall(drop)

    return drip


def slowly(answer: bytes) -> Takeover:
    """This answer, byte by byte."""

    def send(connection: socket.socket, closing: threading.Event) -> None:
        for byte in answer:
            connection.sendall(bytes([byte]))
            closing.wait(0.001)

    return send


def pouring(connection: socket.socket, closing: threading.Event) -> None:
    """As much as the client takes, without an end."""
    while not closing.is_set():
        connection.sendall(b"x" * 65_536)


def reading_slowly(connection: socket.socket, closing: threading.Event) -> None:
    """Takes what the client sends, a little at a time, and never answers."""
    while connection.recv(1_000):
        closing.wait(0.02)


def before_reading(collector: Collector, takeover: Takeover) -> None:
    """Have this done with the next connection, before a handshake, and before anything is read."""
    server = collector._server
    assert server is not None
    finish = server.finish_request

    def take_over(request: Any, client_address: Any) -> None:
        server.finish_request = finish  # type: ignore[method-assign]
        takeover(request, server.closing)

    server.finish_request = take_over  # type: ignore[method-assign]


# Messages that pile up


def hold(collector: Collector, then: Answer | None = None, status: int = 200) -> threading.Event:
    """Have the first request wait for the event; answer those after it with `then`."""
    go = threading.Event()
    first = threading.Lock()

    def answer(call: Call) -> Reply | None:
        if first.acquire(blocking=False):
            return Reply(status, delay=go)
        return then(call) if then else None

    collector.answer = answer
    return go


def arrived(collector: Collector, calls: int = 1) -> None:
    """Wait until so many requests are there, answered or held."""
    assert collector.wait_for(lambda: len(collector.calls) >= calls)


def pile_up(collector: Collector, *puts: Callable[[], object], then: Answer | None = None) -> None:
    """Have the first message go out alone, and the others pile up while it is under way."""
    go = hold(collector, then)
    puts[0]()
    arrived(collector)
    for put in puts[1:]:
        put()
    go.set()
