"""A time limit on a whole exchange. httpx's own timeouts start anew with every read and write,
so a server that sends a byte now and then would hold the thread for ever."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from sentry_segment.guest.clock import monotonic
from sentry_segment.wire.descriptor import Identity, close, identity, is_own

# Bytes written under one limit: within a write httpcore's own begins anew whenever the server has
# taken something. As long as a TLS record, so that none is split for it.
_PIECE = 16_384


class Deadline:
    """Holds the one connection of a client to a point in time, set anew for each exchange.

    `trace` is to be given as httpx's request extension of that name
    (https://www.python-httpx.org/advanced/extensions/#trace): it learns of each new connection
    and has its network stream obey the deadline from then on, with the socket options given. The
    stream also keeps its hands off
    a descriptor that is no longer its own.
    """

    def __init__(self, socket_options: Sequence[tuple[Any, ...]] = ()) -> None:
        self._socket_options = socket_options
        self._at = 0.0
        self._stream: Any = None
        self._connected: Identity | None = None

    def set(self, seconds: float) -> None:
        """Give the exchange that begins now so many seconds."""
        self._at = monotonic() + seconds

    def trace(self, name: str, info: dict[str, Any]) -> None:
        if name.endswith(".connect_tcp.complete"):
            stream = info["return_value"]
            self._connected = identity(_socket(stream))
            self._watch(stream)
            try:
                for option in self._socket_options:
                    _socket(stream).setsockopt(*option)
            except OSError as error:
                raise OSError(f"socket_options: {error}") from error

    @property
    def has_lost_connection(self) -> bool:
        """Whether the open connection's descriptor was closed, or taken over by something else."""
        if self._stream is None:
            return False
        connection = _socket(self._stream)
        return connection.fileno() != -1 and not is_own(connection, self._connected)

    def close(self) -> None:
        """Close the connection, where it is still open. httpcore does not after each failure."""
        stream, self._stream = self._stream, None
        if stream is not None:
            close(_socket(stream), self._connected)

    def disconnect(self) -> None:
        """Close this process's end of the connection, saying nothing on it.

        For a forked child, whose copy of the connection is its parent's. Should the thread that
        uses it have been copied too (gevent's greenlets are), nothing leaves through it any more,
        not even where it was still connecting.
        """
        self._at = float("-inf")
        self.close()

    def remaining(self, timeout: float | None = None) -> float:
        """The seconds that are left, or `timeout` where that is less. Raises where none are."""
        remaining = self._at - monotonic()
        if remaining <= 0:
            raise httpx.ReadTimeout("no complete answer within the timeout")
        return remaining if timeout is None else min(remaining, timeout)

    def _watch(self, stream: Any) -> None:
        """Replace the stream's methods (httpcore's `NetworkStream`) by ones with the deadline."""
        self._stream = stream
        connection, connected = _socket(stream), self._connected
        read, write, start_tls = stream.read, stream.write, stream.start_tls

        def remaining(timeout: float | None = None) -> float:
            if not is_own(connection, connected):
                raise httpx.NetworkError("the connection's descriptor was closed by another")
            return self.remaining(timeout)

        def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
            data: bytes = read(max_bytes, remaining(timeout))
            return data

        def write_in_time(buffer: bytes, timeout: float | None = None) -> None:
            for start in range(0, len(buffer), _PIECE):
                write(buffer[start : start + _PIECE], remaining(timeout))

        def start_tls_in_time(
            ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
        ) -> Any:
            if isinstance(connection, ssl.SSLSocket):
                _hold_to_time(connection, remaining)
            else:
                ssl_context = _Handshake(ssl_context, connected)
            tls_stream = start_tls(ssl_context, server_hostname, remaining(timeout))
            self._watch(tls_stream)
            return tls_stream

        stream.read, stream.write, stream.start_tls = read_in_time, write_in_time, start_tls_in_time
        stream.close = lambda: close(connection, connected)


def _hold_to_time(outer: ssl.SSLSocket, remaining: Callable[[], float]) -> None:
    """For TLS within TLS, as to an HTTPS proxy: httpcore reads a record of the inner one bit by
    bit, each under the whole time."""
    receive = outer.recv

    def receive_in_time(size: int) -> bytes:
        outer.settimeout(remaining())
        return receive(size)

    outer.recv = receive_in_time  # type: ignore[assignment]


class _Handshake:
    """An `ssl.SSLContext` as httpcore uses it. Where the handshake fails, the `ssl` module closes
    the descriptor, whosever it is by then."""

    def __init__(self, context: ssl.SSLContext, connected: Identity | None) -> None:
        self._context = context
        self._connected = connected

    def wrap_socket(self, connection: socket.socket, server_hostname: str | None) -> ssl.SSLSocket:
        tls = self._context.wrap_socket(
            connection, server_hostname=server_hostname, do_handshake_on_connect=False
        )
        try:
            tls.do_handshake()
        except BaseException:
            close(tls, self._connected)
            raise
        return tls


def _socket(stream: Any) -> socket.socket:
    connection: socket.socket = stream.get_extra_info("socket")
    return connection
