"""OAuth 2.0: an access token for Segment's API, in exchange for an assertion signed with the key.

The form of the assertion and of the request is that of Segment's own Python library 2.4
(`segment.analytics.oauth_manager`), which is RFC 7523's: a JSON Web Token with the client's id as
issuer and subject, and the authorization server as audience.
"""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sentry_segment.guest import clock
from sentry_segment.guest.foreign import of_signal_handler
from sentry_segment.guest.log import describe, printable
from sentry_segment.options import Options
from sentry_segment.wire.connection import USER_AGENT, Connection, Response, Trace
from sentry_segment.wire.network import NetworkOptions
from sentry_segment.wire.verdict import MAX_RETRY_AFTER, parse_date, parse_retry_after

# The assertion's times, in seconds from now, by the server's clock.
_ISSUED, _EXPIRES = -5, 55
_UNTOLD_LIFE = 60.0  # of a token where the server does not say: seconds, as Segment's library's
_PAUSE = 30.0  # seconds between two tries to renew a token that is still good
_YOUNG = 60.0  # seconds for which a token is not to blame for a 400
_NOTICED = 2.0  # seconds that a clock must be off: `Date` has whole ones

_FORM = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class TokenError(Exception):
    """Why there is no token; `retry_after` in seconds, where the server asked for it.

    `status` is that of its answer, `None` where there was none that could be used.
    """

    def __init__(
        self, text: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after


@dataclass
class _Token:
    """Times are those of the monotonic clock."""

    text: str
    since: float
    renewed_at: float
    lapses_at: float


class Tokens:
    """Tokens of one client, each used until half of its life is over. Not thread-safe.

    The connection is closed after each exchange: the next is due minutes later, or hours. A token
    is a string, which a forked child may go on using.
    """

    def __init__(self, options: Options, network: NetworkOptions) -> None:
        self._options = options
        self._connection = Connection(network, options.oauth_auth_server, options.timeout)
        self._token: _Token | None = None
        self._clock_skew = 0.0  # seconds by which our clock is ahead of the server's
        self._secrets: deque[str] = deque(maxlen=4)  # the latest tokens and assertions

    def get(self, seconds: float) -> str:
        """A token that is good. Asks for one within so many seconds, where none is there.

        Raises `TokenError` where there is none to be had.
        """
        token = self._token
        if token is not None and clock.monotonic() < token.renewed_at:
            return token.text
        if token is None or clock.monotonic() >= token.lapses_at:
            return self._renewed(seconds)
        try:
            return self._renewed(seconds / 2)  # the rest is for the messages
        except TokenError as error:
            token.renewed_at = clock.monotonic() + max(error.retry_after or 0.0, _PAUSE)
            return token.text

    def is_refused(self, status: int) -> bool:
        """Whether an answer of Segment's API with this status may be the token's fault.

        If so, the next one is new. The statuses are those at which Segment's library drops its
        token. A 400 is a message's fault more often, so an old token alone is suspected.
        """
        token = self._token
        if token is None or status not in (400, 401, 403, 511):
            return False
        if status == 400 and clock.monotonic() < token.since + _YOUNG:
            return False
        self._token = None
        return True

    def prepare(self) -> None:
        """As `Connection.prepare`."""
        self._connection.prepare()

    def forget_connection(self) -> None:
        """Leave the connection to the parent process, in a child just forked."""
        self._connection.forget()

    def masked(self, text: str) -> str:
        """A text without tokens and assertions."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text

    def _renewed(self, seconds: float) -> str:
        what = f"no OAuth token from {self._options.oauth_auth_server}"
        try:
            self.exchange(seconds)
        except TokenError as error:
            raise TokenError(f"{what}: {error}", error.status, error.retry_after) from None
        except Exception as error:
            if of_signal_handler(error) is not None:
                raise
            raise TokenError(f"{what}: {describe(error)}") from error
        assert self._token is not None  # since `exchange`
        return self._token.text

    def exchange(self, seconds: float, watch: Trace | None = None) -> float:
        """Ask for a token; the seconds for which it is good.

        Raises `TokenError` where the answer has none, and others where there is no answer. Where
        our clock is off, and the server refuses the assertion for it, it is asked once more.
        """
        self._connection.begin(seconds)
        asked = clock.monotonic()
        try:
            answer = self._post(watch)
            if self._corrects_clock(answer) and answer.status in (400, 401):
                answer = self._post(watch)
                self._corrects_clock(answer)
        finally:
            self._connection.close()
        text, life = _read_token(answer)
        self._secrets.append(text)
        self._token = _Token(text, asked, asked + life / 2, asked + life)
        return life

    def _post(self, watch: Trace | None) -> Response:
        assertion = self._assertion()
        self._secrets.append(assertion)
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": _FORM,
            "client_assertion": assertion,
            "scope": self._options.oauth_scope,
        }
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        return self._connection.post("/token", urlencode(form).encode(), headers, watch)

    def _assertion(self) -> str:
        import jwt  # of the extra `oauth`

        options, now = self._options, int(time.time() - self._clock_skew)
        claims = {
            "iss": options.oauth_client_id,
            "sub": options.oauth_client_id,
            "aud": options.oauth_auth_server,
            "iat": now + _ISSUED,
            "exp": now + _EXPIRES,
            "jti": str(uuid.uuid4()),
        }
        key = options.oauth_client_key or ""
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": options.oauth_key_id})

    def _corrects_clock(self, answer: Response) -> bool:
        """Go by the server's clock from now on; whether that makes a difference."""
        date = parse_date(answer.headers.get("Date"))
        if date is None:
            return False
        skew, self._clock_skew = self._clock_skew, time.time() - date
        return abs(self._clock_skew - skew) > _NOTICED


def _read_token(answer: Response) -> tuple[str, float]:
    """The token in an answer, and the seconds for which it is good. Raises `TokenError`."""
    if answer.status != 200:
        raise _refusal(answer)
    if not answer.is_whole:
        raise TokenError("the answer has no end, or is very long")
    content = _json(answer)
    token, life = content.get("access_token"), content.get("expires_in", _UNTOLD_LIFE)
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
        raise TokenError("the answer has no access_token")
    try:
        seconds = float(life) if isinstance(life, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if isinstance(life, bool) or not 0 < seconds < math.inf:
        raise TokenError("the answer's expires_in is no number of seconds")
    return token, seconds


def _refusal(answer: Response) -> TokenError:
    text = printable(answer.body.decode("utf-8", "replace"))
    error = f"HTTP {answer.status}" + (text and f": {text}")
    headers = answer.headers
    sent = parse_date(headers.get("Date"))
    now = time.time() if sent is None else sent
    wait = parse_retry_after(headers.get("Retry-After"), now)
    reset = headers.get("X-RateLimit-Reset", "").strip()
    if wait is None and answer.status == 429 and reset.isascii() and reset.isdigit():
        wait = min(float(reset[:9]), MAX_RETRY_AFTER) or None  # seconds, as Segment's library reads
    return TokenError(error, answer.status, wait)


def _json(answer: Response) -> dict[str, Any]:
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise TokenError("the answer is no JSON object")
    return content
