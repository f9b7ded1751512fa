"""A time limit on a whole exchange. httpx's own timeouts start anew with every read and write,
so a server that sends a byte now and then would hold the thread for ever."""

from __future__ import annotations

from typing import Any

import httpx

from sentry_segment.clock import monotonic

# Bytes written under one limit: within a write httpcore's own begins anew whenever the server has
# taken something. As long as a TLS record, so that none is split for it.
_PIECE = 16_384


class Deadline:
    """Holds the one connection of a client to a point in time, set anew for each exchange.

    `trace` is to be given as httpx's request extension of that name
    (https://www.python-httpx.org/advanced/extensions/#trace): it learns of each new connection
    and has its network stream obey the deadline from then on.
    """

    def __init__(self) -> None:
        self._at = 0.0
        self._stream: Any = None

    def set(self, seconds: float) -> None:
        """Give the exchange that begins now so many seconds."""
        self._at = monotonic() + seconds

    def trace(self, name: str, info: dict[str, Any]) -> None:
        if name.endswith(".connect_tcp.complete"):
            self._watch(info["return_value"])
        elif name.endswith(".setup_socks5_connection.failed"):
            self._stream.close()  # httpcore leaves it open

    def disconnect(self) -> None:
        """Close this process's end of the connection, saying nothing on it.

        For a forked child, whose copy of the connection is its parent's. Should the thread that
        uses it have been copied too (gevent's greenlets are), nothing leaves through it any more,
        not even where it was still connecting.
        """
        self._at = float("-inf")
        if self._stream is not None:
            self._stream.get_extra_info("socket").close()

    def _remaining(self, timeout: float | None) -> float:
        remaining = self._at - monotonic()
        if remaining <= 0:
            raise httpx.ReadTimeout("no complete answer within the timeout")
        return remaining if timeout is None else min(remaining, timeout)

    def _watch(self, stream: Any) -> None:
        """Replace the stream's methods (httpcore's `NetworkStream`) by ones with the deadline."""
        self._stream = stream
        read, write, start_tls = stream.read, stream.write, stream.start_tls

        def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
            data: bytes = read(max_bytes, self._remaining(timeout))
            return data

        def write_in_time(buffer: bytes, timeout: float | None = None) -> None:
            for start in range(0, len(buffer), _PIECE):
                write(buffer[start : start + _PIECE], self._remaining(timeout))

        def start_tls_in_time(
            ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
        ) -> Any:
            try:
                remaining = self._remaining(timeout)
            except httpx.ReadTimeout:
                stream.close()  # httpcore leaves that to start_tls, which is not called
                raise
            tls_stream = start_tls(ssl_context, server_hostname, remaining)
            self._watch(tls_stream)
            return tls_stream

        stream.read, stream.write, stream.start_tls = read_in_time, write_in_time, start_tls_in_time
