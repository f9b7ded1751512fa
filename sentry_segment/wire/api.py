"""One exchange with Segment's HTTP API: a request with one message or a batch, and its verdict."""

from __future__ import annotations

import gzip
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import httpx

from sentry_segment._version import __version__
from sentry_segment.guest.foreign import from_signal_handler, of_signal_handler
from sentry_segment.guest.log import describe, printable
from sentry_segment.options import Options
from sentry_segment.wire.bodies import batch_body, track_body
from sentry_segment.wire.deadline import Deadline
from sentry_segment.wire.network import NetworkOptions, build_client
from sentry_segment.wire.verdict import Outcome, Verdict, judge

_EXCERPT = 200  # characters of an answer's body that an error shows
_MAX_ANSWER = 65_536  # bytes read of an answer, to be able to use the connection again

# What may go wrong once there is a connection: a server may fail so at one message again and again.
_AFTER_SENDING = (
    httpx.ReadError,
    httpx.ReadTimeout,
    httpx.RemoteProtocolError,
    httpx.WriteError,
    httpx.WriteTimeout,
)
# How a server answers that does not know the path. Segment's own libraries use /v1/batch alone,
# and so some compatible servers have no other.
_NO_SUCH_PATH = frozenset({404, 405})
# Segment's servers may refuse a request for good that was tried 100 times.
_MAX_RETRY_COUNT = 50

Trace = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Answer:
    """What a request was answered with."""

    path: str
    """`/v1/track` or `/v1/batch`."""
    status: int
    headers: Mapping[str, str]
    location: str
    """Where it redirects to, or ""."""
    text: str
    """The beginning of the body, in one line."""
    is_whole: bool
    """Whether that is all of the body."""


class SegmentApi:
    """Segment's tracking API for one write key, over one connection. Not thread-safe.

    After an exchange that did not end in a whole answer, the next begins with a new client. Else
    httpcore may keep the broken connection as one in use, and with room for one alone no request
    would ever get another (https://github.com/encode/httpcore/issues/1023). Files of certificates
    are read anew with it, some 20 milliseconds: they may have been replaced, which is then what
    failed.
    """

    def __init__(self, options: Options, network: NetworkOptions) -> None:
        self._options = options
        self._network = network
        self._deadline = Deadline(network.socket_options)
        self._client: httpx.Client | None = None
        self.requests = 0
        self.bytes_sent = 0  # of bodies
        self._knows_track = True  # until the server has taken a message by /v1/batch alone
        # The write key is the user name of Basic authentication, without a password.
        self._credentials = b64encode(f"{options.write_key}:".encode()).decode()

    def send(self, messages: Sequence[bytes], retry_count: int, time_limit: float) -> Verdict:
        """Send encoded messages, as one request. Never raises.

        `retry_count` is how often just these were tried before; `time_limit` seconds are allowed
        for the whole exchange (name resolution apart, which no one can interrupt), besides the
        option `timeout`.
        """
        try:
            answer = self.exchange(messages, retry_count, min(time_limit, self._options.timeout))
            retry_after, date = (answer.headers.get(name) for name in ("Retry-After", "Date"))
            verdict = judge(answer.status, retry_after, time.time(), date)
            if verdict.error and answer.text:
                error = self.masked(f"{verdict.error}: {answer.text}")
                verdict = replace(verdict, error=error[:_EXCERPT])
            return verdict
        except Exception as error:  # noqa: BLE001 - it travels on, or the messages are kept
            theirs = of_signal_handler(error)  # which httpx may have made an error of its own of
            if theirs is not None:
                raise theirs from theirs.__cause__
            text = self.masked(describe(error))[:_EXCERPT]
            return Verdict(Outcome.RETRY, text, is_suspicious=isinstance(error, _AFTER_SENDING))

    def close(self) -> None:
        """Close the connection. The next exchange opens another. Never raises, never waits."""
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except Exception:  # noqa: BLE001, S110 - a pool that is broken
                pass
        self._deadline.close()

    def forget_connection(self) -> None:
        """Leave the connection to the parent process, in a child just forked."""
        self._deadline.disconnect()
        # Not closed: a thread of the parent may have held the client's locks.
        self._client = None
        self._deadline = Deadline(self._network.socket_options)

    def prepare(self) -> httpx.Client:
        """Build the HTTP client, unless it is there.

        Raises where a proxy or a file of certificates can't be used.
        """
        if self._client is None:
            self._client = build_client(self._network, self._options.host, self._options.timeout)
        return self._client

    def exchange(
        self,
        messages: Sequence[bytes],
        retry_count: int,
        seconds: float,
        watch: Trace | None = None,
    ) -> Answer:
        """As `send`, but the answer itself; raises where there is none.

        A lone message goes to `/v1/track`, as the server-side plugin's do. Where the server does
        not know that path it goes to `/v1/batch`, as part of the same try, and so do all after it.

        `watch` is told of the steps, as httpx's request extension `trace` is
        (https://www.python-httpx.org/advanced/extensions/#trace).
        """
        self._deadline.set(seconds)
        if len(messages) > 1 or not self._knows_track:
            return self._post("/v1/batch", batch_body(messages, _now()), retry_count, watch)
        answer = self._post("/v1/track", track_body(messages[0], _now()), retry_count, watch)
        if answer.status not in _NO_SUCH_PATH:
            return answer
        batch = self._post("/v1/batch", batch_body(messages, _now()), retry_count, watch)
        if batch.status in _NO_SUCH_PATH:
            return answer  # the host has neither
        self._knows_track = False
        return batch

    def _post(self, path: str, body: bytes, retry_count: int, watch: Trace | None) -> Answer:
        headers = self._headers(retry_count)
        if self._options.gzip:
            body = gzip.compress(body, compresslevel=6)
            headers["Content-Encoding"] = "gzip"

        if self._deadline.has_lost_connection:
            self.close()
        trace: Trace = self._deadline.trace
        if watch is not None:
            trace = _both(trace, watch)
        client, is_whole = self.prepare(), False
        self.requests += 1
        self.bytes_sent += len(body)
        try:
            with client.stream(
                "POST",
                self._options.host + path,
                content=body,
                headers=headers,
                timeout=self._deadline.remaining(),
                extensions={"trace": trace},
            ) as response:
                text, is_whole = _read(response)
                location = response.extensions["location"]
                return Answer(
                    path, response.status_code, response.headers, location, text, is_whole
                )
        finally:
            # It is another's, where this is a greenlet that went on in a forked child.
            if not is_whole and self._client is client:
                self.close()

    def masked(self, text: str) -> str:
        """A text without the write key, which a server or proxy may have echoed."""
        for secret in (self._credentials, self._options.write_key):
            text = text.replace(secret, self._options.masked_write_key)
        return text

    def _headers(self, retry_count: int) -> dict[str, str]:
        headers = {
            "Authorization": f"Basic {self._credentials}",
            "Content-Type": "application/json",
            "User-Agent": f"sentry-segment/{__version__}",
            "Accept-Encoding": "identity",
        }
        if retry_count:
            headers["X-Retry-Count"] = str(min(retry_count, _MAX_RETRY_COUNT))
        return headers


def _now() -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return now.replace("+00:00", "Z")


def _both(first: Trace, second: Trace) -> Trace:
    def trace(name: str, info: dict[str, Any]) -> None:
        first(name, info)
        second(name, info)

    return trace


def _read(response: httpx.Response) -> tuple[str, bool]:
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
    return printable(body.decode("utf-8", "replace")), is_whole
