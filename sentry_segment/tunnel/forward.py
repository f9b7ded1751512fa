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
from sentry_segment.wire.deadline import Deadline
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
# Seconds for which a connection is kept open: servers and proxies close them after a minute or so.
_LONGEST_IDLE = 30.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""


class Forwarder:
    """The connections to one Sentry. Thread-safe, and each process has its own."""

    def __init__(self, network: NetworkOptions, url: str, timeout: float) -> None:
        self._timeout = timeout
        self._made = PerProcess(lambda: _Lines(network, url))
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
        lines = self._made.get()
        until = monotonic() + self._timeout
        line = lines.take()
        try:
            return lines.post(line, until, body, headers)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if not line.has_served:
                raise
            # Sentry or a proxy has just closed or reset it, being idle. Should the envelope have
            # been passed on nevertheless, Sentry knows it again by its id.
            return lines.post(lines.take(), until, body, headers)

    def close(self) -> None:
        """Close the connections. The next envelope opens others."""
        self._made.get().close_idle()


class _Line:
    """One connection to Sentry, for one request at a time.

    It is httpx's transport: its client would keep cookies, of one browser's answer for all, and
    takes twice the time (`scripts/bench tunnel`).
    """

    def __init__(self, network: NetworkOptions, url: str, context: ssl.SSLContext) -> None:
        self._url = httpx.URL(url)
        self._deadline = Deadline(network.socket_options)
        self._transport = build_transport(network, url, context)
        self.has_served = False
        self.idle_since = 0.0

    def post(self, until: float, body: bytes, headers: Mapping[str, bytes]) -> Answer:
        """Raises where there is no answer by then."""
        self._deadline.set(until - monotonic())
        # httpx takes texts in ASCII alone, and browsers' names have other letters in them.
        encoded = [(name.encode(), value) for name, value in headers.items()]
        timeout = httpx.Timeout(self._deadline.remaining()).as_dict()
        extensions = {"timeout": timeout, "trace": self._deadline.trace}
        request = httpx.Request(
            "POST", self._url, headers=encoded, content=body, extensions=extensions
        )
        response = self._transport.handle_request(request)
        try:
            answer = Answer(response.status_code, _passed_back(response), _start(response))
        finally:
            response.close()
        self.has_served = True
        return answer

    @property
    def is_lost(self) -> bool:
        """Whether something else in the process has closed its descriptor."""
        return self._deadline.has_lost_connection

    def close(self) -> None:
        with suppress(Exception):  # such as: a pool that is broken
            self._transport.close()
        self._deadline.close()


class _Lines:
    """The connections that wait for a request. The one that served last serves next."""

    def __init__(self, network: NetworkOptions, url: str) -> None:
        self._network = network
        self._url = url
        self._process = OwnProcess()
        self._lock = threading.Lock()
        self._idle: list[_Line] = []
        self._reading = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._read_at = 0.0

    def __del__(self) -> None:
        # An application that a tunnel is mounted in tells it nothing of its end. A forked child
        # leaves its parent's connections alone.
        with suppress(Exception):  # such as: the interpreter is ending too
            if self._process.is_here:
                self.close_idle()

    def take(self) -> _Line:
        """One for a request. `post` gives it back."""
        while True:
            with self._lock:
                line = self._idle.pop() if self._idle else None
            if line is None:
                return _Line(self._network, self._url, self._certificates())
            if not line.is_lost and monotonic() - line.idle_since < _LONGEST_IDLE:
                return line
            line.close()

    def post(self, line: _Line, until: float, body: bytes, headers: Mapping[str, bytes]) -> Answer:
        """Raises where there is no answer. Then no connection is used again: what broke this one
        may have broken all."""
        try:
            answer = line.post(until, body, headers)
        except BaseException:
            line.close()
            self.close_idle()
            raise
        line.idle_since = now = monotonic()
        with self._lock:
            self._idle.append(line)
            is_old = now - self._idle[0].idle_since >= _LONGEST_IDLE
            oldest = self._idle.pop(0) if is_old else None
        if oldest is not None:
            oldest.close()
        return answer

    def close_idle(self) -> None:
        with self._lock:
            lines, self._idle = self._idle, []
        for line in lines:
            line.close()

    def _certificates(self) -> ssl.SSLContext:
        with self._reading:
            now = monotonic()
            if self._context is None or now - self._read_at > _FRESH:
                self._context = ssl_context(self._network)
                self._read_at = now
            return self._context


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
