"""The way on to Sentry: the same as that of Sentry's own transport."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import httpx

from sentry_segment.guest.clock import monotonic
from sentry_segment.guest.forks import OwnProcess, PerProcess
from sentry_segment.guest.log import ProblemLog, describe
from sentry_segment.guest.silence import outside_any_request
from sentry_segment.wire.network import NetworkOptions, build_transport, ssl_context

_MOST = 65_536  # bytes of an answer that are passed back
_PASSED_BACK = frozenset(
    (
        b"content-type",
        b"content-encoding",
        b"retry-after",
        b"x-sentry-rate-limits",
        b"x-sentry-error",
    )
)
# Seconds for which certificates that were read are good for further connections. Reading them
# takes some 20 milliseconds, which is not to be spent on each envelope while Sentry is down.
_FRESH = 10.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""


class Forwarder:
    """The connections to one Sentry. Thread-safe, and each process has its own."""

    def __init__(self, network: NetworkOptions, url: str, timeout: float, connections: int) -> None:
        self._made = PerProcess(lambda: _Connections(network, url, timeout, connections))
        self._log = ProblemLog()

    def post(self, body: bytes, headers: Mapping[str, bytes]) -> Answer:
        """Pass an envelope on. Never raises an `Exception`: Sentry may be down."""
        try:
            return outside_any_request(partial(self._post, body, headers))
        except httpx.TimeoutException as error:
            status, problem = 504, describe(error)
        except Exception as error:  # noqa: BLE001 - a proxy or certificate that can't be used, say
            status, problem = 502, describe(error)
        self._log.warn("tunnel", f"The tunnel got no answer from Sentry: {problem}")
        return Answer(status, [("content-type", "text/plain")], b"Sentry did not answer\n")

    def _post(self, body: bytes, headers: Mapping[str, bytes]) -> Answer:
        connections = self._made.get()
        try:
            return connections.post(body, headers)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # An idle connection, which Sentry or a proxy has just closed or reset. Should it have
            # been passed on nevertheless, Sentry knows it again by its id.
            return connections.post(body, headers)

    def close(self) -> None:
        """Close the connections. The next envelope opens others."""
        self._made.get().replace(None)


class _Connections:
    """The present connections, and those before them that have requests under way.

    After a request without an answer the next has new ones, as in `wire.connection`. They are
    httpx's transports: its client would keep cookies, of one browser's answer for all, and takes
    twice the time (`scripts/bench tunnel`).
    """

    def __init__(self, network: NetworkOptions, url: str, timeout: float, connections: int) -> None:
        self._network = network
        self._url = httpx.URL(url)
        self._extensions = {"timeout": httpx.Timeout(timeout).as_dict()}
        self._most = connections
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._read_at = 0.0
        self._current: httpx.HTTPTransport | None = None
        self._process = OwnProcess()
        self._used: dict[httpx.HTTPTransport, int] = {}

    def __del__(self) -> None:
        # An application that a tunnel is mounted in tells it nothing of its end. A forked child
        # leaves its parent's connections alone.
        with suppress(Exception):  # such as: the interpreter is ending too
            if self._process.is_here:
                self.replace(None)

    def post(self, body: bytes, headers: Mapping[str, bytes]) -> Answer:
        # httpx takes texts in ASCII alone, and browsers' names have other letters in them.
        encoded = [(name.encode(), value) for name, value in headers.items()]
        request = httpx.Request(
            "POST", self._url, headers=encoded, content=body, extensions=self._extensions
        )
        transport = self._take()
        try:
            response = transport.handle_request(request)
            try:
                return Answer(response.status_code, _passed_back(response), _start(response))
            finally:
                response.close()
        except BaseException:
            self.replace(transport)
            raise
        finally:
            self._give_back(transport)

    def _take(self) -> httpx.HTTPTransport:
        with self._lock:
            if self._current is None:
                self._current = self._made()
            self._used[self._current] = self._used.get(self._current, 0) + 1
            return self._current

    def _made(self) -> httpx.HTTPTransport:
        now = monotonic()
        if self._context is None or now - self._read_at > _FRESH:
            self._context = ssl_context(self._network)
            self._read_at = now
        options = self._network.socket_options
        return build_transport(self._network, str(self._url), self._context, self._most, options)

    def replace(self, transport: httpx.HTTPTransport | None) -> None:
        """Have the next request begin with a new one in the place of this one, or of any."""
        with self._lock:
            old = self._current
            if old is None or transport not in (None, old):
                return
            self._current = None
            is_idle = not self._used.get(old)
        if is_idle:
            old.close()

    def _give_back(self, transport: httpx.HTTPTransport) -> None:
        with self._lock:
            self._used[transport] -= 1
            if self._used[transport]:
                return
            del self._used[transport]
            is_over = transport is not self._current
        if is_over:
            transport.close()


def _passed_back(response: httpx.Response) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in response.headers.raw
        if name.lower() in _PASSED_BACK
    ]


def _start(response: httpx.Response) -> bytes:
    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > _MOST:
            break
    return body[:_MOST]
