"""One connection to one server: a request, and its answer, within a time limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from sentry_segment._version import __version__
from sentry_segment.guest.foreign import from_signal_handler
from sentry_segment.wire.deadline import Deadline
from sentry_segment.wire.network import NetworkOptions, build_client

USER_AGENT = f"sentry-segment/{__version__}"
_MAX_ANSWER = 65_536  # bytes read of an answer, to be able to use the connection again

Trace = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Response:
    """What a request was answered with."""

    status: int
    headers: Mapping[str, str]
    location: str
    """Where it redirects to, or ""."""
    body: bytes
    """The beginning of it."""
    is_whole: bool
    """Whether that is all of it."""


class Connection:
    """The one connection to the server at `host`. Not thread-safe.

    After an exchange that did not end in a whole answer, the next begins with a new client. Else
    httpcore may keep the broken connection as one in use, and with room for one alone no request
    would ever get another (https://github.com/encode/httpcore/issues/1023). Files of certificates
    are read anew with it, some 20 milliseconds: they may have been replaced, which is then what
    failed.
    """

    def __init__(self, network: NetworkOptions, host: str, timeout: float) -> None:
        self._network = network
        self._host = host
        self._timeout = timeout
        self._deadline = Deadline(network.socket_options)
        self._client: httpx.Client | None = None

    def begin(self, seconds: float) -> None:
        """Give the requests that follow so many seconds, all together."""
        self._deadline.set(seconds)

    def remaining(self) -> float:
        """The seconds that are left of it. Raises where none are."""
        return self._deadline.remaining()

    def prepare(self) -> httpx.Client:
        """Build the HTTP client, unless it is there.

        Raises where a proxy or a file of certificates can't be used.
        """
        if self._client is None:
            self._client = build_client(self._network, self._host, self._timeout)
        return self._client

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], watch: Trace | None
    ) -> Response:
        """Make a request. Raises where there is no answer.

        `watch` is told of the steps, as httpx's request extension `trace` is
        (https://www.python-httpx.org/advanced/extensions/#trace).
        """
        if self._deadline.has_lost_connection:
            self.close()
        trace: Trace = self._deadline.trace
        if watch is not None:
            trace = _both(trace, watch)
        client, is_whole = self.prepare(), False
        try:
            with client.stream(
                "POST",
                self._host + path,
                content=body,
                headers=headers,
                timeout=self._deadline.remaining(),
                extensions={"trace": trace},
            ) as response:
                start, is_whole = _read(response)
                location = response.extensions["location"]
                return Response(response.status_code, response.headers, location, start, is_whole)
        finally:
            # It is another's, where this is a greenlet that went on in a forked child.
            if not is_whole and self._client is client:
                self.close()

    def close(self) -> None:
        """Close the connection. The next request opens another. Never raises, never waits."""
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except Exception:  # noqa: BLE001, S110 - a pool that is broken
                pass
        self._deadline.close()

    def forget(self) -> None:
        """Leave the connection to the parent process, in a child just forked."""
        self._deadline.disconnect()
        # Not closed: a thread of the parent may have held the client's locks.
        self._client = None
        self._deadline = Deadline(self._network.socket_options)


def _both(first: Trace, second: Trace) -> Trace:
    def trace(name: str, info: dict[str, Any]) -> None:
        first(name, info)
        second(name, info)

    return trace


def _read(response: httpx.Response) -> tuple[bytes, bool]:
    """The beginning of the answer's body, and whether that is all of it.

    Read to its end, where that is near, so that the connection can be used again. What goes wrong
    here changes nothing: the status has told the verdict.
    """
    body, is_whole = b"", False
    try:
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > _MAX_ANSWER:
                break
        else:
            is_whole = True
    except Exception as error:
        if from_signal_handler(error):
            raise
    return body, is_whole
