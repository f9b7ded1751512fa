"""One exchange with Segment's HTTP API: a request with one message or a batch, and its verdict."""

from __future__ import annotations

import gzip
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import httpx

from sentry_segment.guest.foreign import of_signal_handler
from sentry_segment.guest.log import describe, printable
from sentry_segment.options import Options
from sentry_segment.wire.bodies import batch_body, track_body
from sentry_segment.wire.connection import USER_AGENT, Connection, Trace
from sentry_segment.wire.network import NetworkOptions
from sentry_segment.wire.oauth import TokenError, Tokens
from sentry_segment.wire.verdict import Outcome, Verdict, judge

_EXCERPT = 200  # characters of an answer's body that an error shows

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

    Attributes:
        tokens: where access tokens come from, `None` where the write key is what counts.
    """

    def __init__(self, options: Options, network: NetworkOptions) -> None:
        self._options = options
        self._connection = Connection(network, options.host, options.timeout)
        self.requests = 0
        self.bytes_sent = 0  # of bodies
        self._knows_track = True  # until the server has taken a message by /v1/batch alone
        # The write key is the user name of Basic authentication, without a password. With a token
        # in its place, it is in the body.
        self._credentials = b64encode(f"{options.write_key}:".encode()).decode()
        self.tokens = Tokens(options, network) if options.oauth_client_key else None

    def send(self, messages: Sequence[bytes], retry_count: int, time_limit: float) -> Verdict:
        """Send encoded messages, as one request. Never raises.

        `retry_count` is how often just these were tried before; `time_limit` seconds are allowed
        for the whole exchange (name resolution apart, which no one can interrupt), besides the
        option `timeout`. That for a token is part of it.
        """
        try:
            answer = self.exchange(messages, retry_count, min(time_limit, self._options.timeout))
            verdict = self.judge(answer)
            if verdict.error and answer.text:
                error = self.masked(f"{verdict.error}: {answer.text}")
                verdict = replace(verdict, error=error[:_EXCERPT])
            return verdict
        except TokenError as error:
            text = self.masked(str(error))[:_EXCERPT]
            return Verdict(Outcome.RETRY, text, retry_after=error.retry_after)
        except Exception as error:  # noqa: BLE001 - it travels on, or the messages are kept
            theirs = of_signal_handler(error)  # which httpx may have made an error of its own of
            if theirs is not None:
                raise theirs from theirs.__cause__
            text = self.masked(describe(error))[:_EXCERPT]
            return Verdict(Outcome.RETRY, text, is_suspicious=isinstance(error, _AFTER_SENDING))

    def judge(self, answer: Answer) -> Verdict:
        """What an answer means for the messages."""
        retry_after, date = (answer.headers.get(name) for name in ("Retry-After", "Date"))
        by_token = self.tokens is not None
        return judge(answer.status, retry_after, time.time(), date, by_token)

    def close(self) -> None:
        """Close the connection. The next exchange opens another. Never raises, never waits."""
        self._connection.close()

    def forget_connection(self) -> None:
        """Leave the connection to the parent process, in a child just forked."""
        self._connection.forget()
        if self.tokens is not None:
            self.tokens.forget_connection()

    def prepare(self) -> None:
        """Build the HTTP client, unless it is there.

        Raises where a proxy or a file of certificates can't be used.
        """
        self._connection.prepare()

    def exchange(
        self,
        messages: Sequence[bytes],
        retry_count: int,
        seconds: float,
        watch: Trace | None = None,
    ) -> Answer:
        """As `send`, but the answer itself; raises where there is none.

        Where the token is refused, the request is made once more with a new one, as part of the
        same try.

        `watch` is told of the steps, as httpx's request extension `trace` is
        (https://www.python-httpx.org/advanced/extensions/#trace), but for those to a token.
        """
        self._connection.begin(seconds)
        answer = self._exchange(messages, retry_count, watch)
        if self.tokens is not None and self.tokens.is_refused(answer.status):
            answer = self._exchange(messages, retry_count, watch)
        return answer

    def _exchange(self, messages: Sequence[bytes], retry_count: int, watch: Trace | None) -> Answer:
        """A lone message goes to `/v1/track`, as the server-side plugin's do. Where the server does
        not know that path it goes to `/v1/batch`, as part of the same try, and so do all after it.
        """
        headers, key = self._headers(retry_count), self._key_in_body
        if len(messages) > 1 or not self._knows_track:
            return self._post("/v1/batch", batch_body(messages, _now(), key), headers, watch)
        answer = self._post("/v1/track", track_body(messages[0], _now(), key), headers, watch)
        if answer.status not in _NO_SUCH_PATH:
            return answer
        batch = self._post("/v1/batch", batch_body(messages, _now(), key), headers, watch)
        if batch.status in _NO_SUCH_PATH:
            return answer  # the host has neither
        self._knows_track = False
        return batch

    def _post(
        self, path: str, body: bytes, headers: Mapping[str, str], watch: Trace | None
    ) -> Answer:
        if self._options.gzip:
            body = gzip.compress(body, compresslevel=6)
            headers = {**headers, "Content-Encoding": "gzip"}
        self.requests += 1
        self.bytes_sent += len(body)
        response = self._connection.post(path, body, headers, watch)
        text = printable(response.body.decode("utf-8", "replace"))
        return Answer(
            path,
            response.status,
            response.headers,
            response.location,
            text,
            response.is_whole,
        )

    def masked(self, text: str) -> str:
        """A text without the write key and the tokens, which a server or proxy may have echoed."""
        for secret in (self._credentials, self._options.write_key):
            text = text.replace(secret, self._options.masked_write_key)
        return text if self.tokens is None else self.tokens.masked(text)

    @property
    def _key_in_body(self) -> str | None:
        """A token does not say for which source it is used."""
        return None if self.tokens is None else self._options.write_key

    def _headers(self, retry_count: int) -> dict[str, str]:
        authorization = f"Basic {self._credentials}"
        if self.tokens is not None:
            authorization = f"Bearer {self.tokens.get(self._connection.remaining())}"
        headers = {
            "Authorization": authorization,
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
        }
        if retry_count:
            headers["X-Retry-Count"] = str(min(retry_count, _MAX_RETRY_COUNT))
        return headers


def _now() -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return now.replace("+00:00", "Z")
