"""The way on to Sentry: the same as that of Sentry's own transport."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import httpx

from sentry_segment.guest.forks import PerProcess
from sentry_segment.guest.log import ProblemLog, describe
from sentry_segment.wire.network import NetworkOptions, build_client

_MOST = 65_536  # bytes of an answer that are passed back
_PASSED_BACK = ("content-type", "retry-after", "x-sentry-rate-limits", "x-sentry-error")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""


class Forwarder:
    """The connections to one Sentry. Thread-safe, and each process has its own."""

    def __init__(self, network: NetworkOptions, url: str, timeout: float, connections: int) -> None:
        self._url = url
        self._made = PerProcess(lambda: _Clients(network, url, timeout, connections))
        self._log = ProblemLog()

    def post(self, body: bytes, headers: Mapping[str, bytes]) -> Answer:
        """Pass an envelope on. Never raises an `Exception`: Sentry may be down."""
        try:
            try:
                return self._made.get().post(self._url, body, headers)
            except httpx.RemoteProtocolError:  # an idle connection that Sentry has just closed
                return self._made.get().post(self._url, body, headers)
        except httpx.TimeoutException as error:
            status, problem = 504, describe(error)
        except Exception as error:  # noqa: BLE001 - a proxy or certificate that can't be used, say
            status, problem = 502, describe(error)
        self._log.warn("tunnel", f"The tunnel got no answer from Sentry: {problem}")
        return Answer(status, [("content-type", "text/plain")], b"Sentry did not answer\n")

    def close(self) -> None:
        """Close the connections. The next envelope opens others."""
        self._made.get().replace(None)


class _Clients:
    """The present HTTP client, and those before it that have requests under way.

    After a request without an answer the next has a new one, as in `wire.connection`.
    """

    def __init__(self, network: NetworkOptions, url: str, timeout: float, connections: int) -> None:
        self._make = partial(build_client, network, url, timeout, connections)
        self._lock = threading.Lock()
        self._current: httpx.Client | None = None
        self._used: dict[httpx.Client, int] = {}

    def post(self, url: str, body: bytes, headers: Mapping[str, bytes]) -> Answer:
        client = self._take()
        try:
            with client.stream("POST", url, content=body, headers=_encoded(headers)) as response:
                return Answer(
                    response.status_code,
                    [(n, response.headers[n]) for n in _PASSED_BACK if n in response.headers],
                    _start(response),
                )
        except BaseException:
            self.replace(client)
            raise
        finally:
            self._give_back(client)

    def _take(self) -> httpx.Client:
        with self._lock:
            if self._current is None:
                self._current = self._make()
            self._used[self._current] = self._used.get(self._current, 0) + 1
            return self._current

    def replace(self, client: httpx.Client | None) -> None:
        """Have the next request begin with a new client in the place of this one, or of any."""
        with self._lock:
            old = self._current
            if old is None or client not in (None, old):
                return
            self._current = None
            is_idle = not self._used.get(old)
        if is_idle:
            old.close()

    def _give_back(self, client: httpx.Client) -> None:
        with self._lock:
            self._used[client] -= 1
            if self._used[client]:
                return
            del self._used[client]
            is_over = client is not self._current
        if is_over:
            client.close()


def _encoded(headers: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
    # httpx takes texts in ASCII alone, and browsers' names have other letters in them.
    return [(name.encode(), value) for name, value in headers.items()]


def _start(response: httpx.Response) -> bytes:
    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > _MOST:
            break
    return body[:_MOST]
