"""What an answer of Segment means for the messages sent, and how long to wait after it.

The rules are those of Segment's own Python library 2.4 (`segment.analytics.consumer`): the same
statuses are tried again, and `Retry-After` is honoured up to the same 300 seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from enum import Enum

MAX_RETRY_AFTER = 300.0  # seconds
FIRST_BACKOFF = 0.5  # seconds
MAX_BACKOFF = 60.0  # seconds

_RETRIED_4XX = frozenset({408, 410, 429, 460})
_FINAL_5XX = frozenset({501, 505, 511})
# The refusals that one message of a batch may be to blame for.
_SPLIT = frozenset({400, 413})


class Outcome(Enum):
    """What is to be done with the messages of a request."""

    DELIVERED = "delivered"
    RETRY = "retry"
    SPLIT = "split"
    REFUSED = "refused"


@dataclass(frozen=True)
class Verdict:
    """The outcome of a request; `retry_after` in seconds, where the server asked for it."""

    outcome: Outcome
    error: str = ""
    status: int | None = None
    retry_after: float | None = None
    is_suspicious: bool = False
    """Whether it failed in a way that may be the fault of a message in it: by a 5xx, or without an
    answer once it was sent."""


class DeliveryError(Exception):
    """Why messages were given up: `status` is that of Segment's answer, `None` without one."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def judge(
    status: int,
    retry_after: str | None,
    now: float,
    date: str | None = None,
    by_token: bool = False,
) -> Verdict:
    """The verdict on an answer with this status, and the headers `Retry-After` and `Date`.

    `by_token`: the request had an OAuth token, and 511 is a matter of that.

    A date in `Retry-After` is held against the server's own clock, for ours may be days off; where
    it does not tell, against `now`, in seconds since 1970.
    """
    error = f"HTTP {status}"
    if 200 <= status < 300:
        return Verdict(Outcome.DELIVERED, status=status)
    is_final = status in _FINAL_5XX and not (by_token and status == 511)
    if status in _RETRIED_4XX or (500 <= status < 600 and not is_final):
        sent = parse_date(date)
        wait = parse_retry_after(retry_after, now if sent is None else sent)
        return Verdict(
            Outcome.RETRY, error, status, wait, is_suspicious=status >= 500 and status != 511
        )
    if status in _SPLIT:
        return Verdict(Outcome.SPLIT, error, status)
    return Verdict(Outcome.REFUSED, error, status)


def refusal(
    verdict: Verdict, messages: int, host: str, masked_write_key: str, by_token: bool = False
) -> str:
    """What to say of so many messages that were refused for good, and what may help."""
    if verdict.status in (401, 403) and by_token:
        return (
            f"Segment ({host}) refused a new OAuth token for the write key {masked_write_key} with "
            f"{verdict.error}; {messages} message(s) dropped. In Segment, the OAuth application "
            f"must be connected to the source with that key, and have the scope oauth_scope; host "
            f"and oauth_auth_server must be those of your workspace's region"
        )
    if verdict.status in (401, 403):
        return (
            f"Segment ({host}) refused the write key {masked_write_key} with "
            f"{verdict.error}; {messages} message(s) dropped. The right key stands in Segment "
            f"under Connections > Sources > (your source) > Settings > API Keys; "
            f"pass it as write_key or in SEGMENT_WRITE_KEY, and check that host is the region "
            f"of your workspace"
        )
    hint = ""
    if verdict.status is not None and 300 <= verdict.status < 400:
        hint = "; redirects are not followed: pass the final address as host"
    return f"Segment ({host}) refused {messages} message(s) for good: {verdict.error}{hint}"


def parse_retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait, more than 0 and 300 at the most; `None` where the header says nothing."""
    header = (header or "").strip()
    if header.isascii() and header.isdigit():
        seconds = float(header[:9])  # no number of seconds needs more digits
    else:
        date = parse_date(header)
        if date is None:
            return None
        seconds = date - now
    return min(seconds, MAX_RETRY_AFTER) if seconds > 0 else None


def parse_date(header: str | None) -> float | None:
    """An HTTP date in seconds since 1970."""
    try:
        date = parsedate_to_datetime(header or "")
        # A date without a zone is one in UTC (RFC 9110, section 5.6.7).
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def backoff(failures: int, random: Callable[[], float]) -> float:
    """Seconds to wait after this many failures in a row: exponential, with full jitter.

    `random` gives a number from 0 to 1. Full jitter spreads the retries of many processes best
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """
    ceiling: float = min(FIRST_BACKOFF * 2 ** min(failures - 1, 30), MAX_BACKOFF)
    return ceiling * random()
