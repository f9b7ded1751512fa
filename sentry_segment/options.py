"""The integration's options, each checked where it is given."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

from sentry_segment import oauth_options, spool_options
from sentry_segment.mapping.message import TrackMessage
from sentry_segment.oauth_options import DEFAULT_AUTH_SERVER, DEFAULT_SCOPE

BeforeTrack = Callable[[TrackMessage, dict[str, Any]], TrackMessage | None]
OnError = Callable[[Exception, list[TrackMessage]], None]

DEFAULT_HOST = "https://api.segment.io"
WRITE_KEY_VARIABLE = "SEGMENT_WRITE_KEY"
HOST_VARIABLE = "SEGMENT_HOST"
MIN_SPOOL_BYTES = 1_000_000
QUOTES = ("'", '"', "`", "\u2018", "\u2019", "\u201c", "\u201d")
_MOST_SECONDS = 1e6  # Python's waits, and those of sockets, can't be told of all numbers
# Segment's keys are letters and digits at random. These are in examples, and in templates that
# nobody has filled in.
_PLACEHOLDER = re.compile(
    r"[<>{}\[\]$%*]|\.\.\.|\u2026|write.?key|place.?holder|change.?me|replace.?me|example|x{4}"
    r"|^(?:your|my|any|some)\b|^(?:test|none|null|undefined|todo|secret)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Options:
    """What `SegmentIntegration` was given, checked and brought into one form."""

    write_key: str
    host: str
    event_name: str
    before_track: BeforeTrack | None
    on_error: OnError | None
    max_queue_size: int
    rate_limit: tuple[int, float]
    timeout: float
    gzip: bool
    scrub: bool
    spool: str | None
    spool_max_bytes: int
    anonymous: bool = False
    sentry_url: str | None = None
    oauth_client_id: str | None = None
    oauth_client_key: str | None = None
    oauth_key_id: str | None = None
    oauth_auth_server: str = DEFAULT_AUTH_SERVER
    oauth_scope: str = DEFAULT_SCOPE

    def __post_init__(self) -> None:
        check = object.__setattr__  # the dataclass is frozen; this is its constructor
        check(self, "write_key", _write_key(self.write_key))
        check(self, "host", _host(self.host))
        check(self, "event_name", _event_name(self.event_name))
        _optional_callable("before_track", self.before_track)
        _optional_callable("on_error", self.on_error)
        whole_number("max_queue_size", self.max_queue_size)
        check(self, "rate_limit", _rate_limit(self.rate_limit))
        check(self, "timeout", positive_number("timeout", self.timeout))
        for name in ("gzip", "scrub", "anonymous"):
            if not isinstance(getattr(self, name), bool):
                wrong_type(name, getattr(self, name), "True or False")
        check(self, "spool", spool_options.place(self.spool))
        whole_number("spool_max_bytes", self.spool_max_bytes, minimum=MIN_SPOOL_BYTES)
        check(self, "sentry_url", _sentry_url(self.sentry_url))
        for name in oauth_options.CLIENT:
            check(self, name, oauth_options.client_text(name, getattr(self, name)))
        check(self, "oauth_auth_server", _auth_server(self.oauth_auth_server))
        check(self, "oauth_scope", oauth_options.scope(self.oauth_scope))
        if self.write_key:  # without one nothing is sent, and a developer's machine has no key
            oauth_options.check_client({n: getattr(self, n) for n in oauth_options.CLIENT})
            spool_options.check_extra(self.spool)

    @property
    def masked_write_key(self) -> str:
        """The write key as it may be shown: its last four characters at the most."""
        return mask(self.write_key)

    @property
    def is_placeholder(self) -> bool:
        """Whether the write key is one that stands in an example."""
        return _PLACEHOLDER.search(self.write_key) is not None

    @property
    def is_plain_http(self) -> bool:
        """Whether the messages and the write key would cross a network unencrypted."""
        return _is_plain_http(self.host)

    @property
    def has_plain_auth_server(self) -> bool:
        """Whether OAuth tokens would."""
        return self.oauth_client_key is not None and _is_plain_http(self.oauth_auth_server)

    def sentry_link(self, dsn: str | None) -> str:
        """What links to the events of this DSN's project begin with, before the event's id; `""`
        without a `sentry_url`.

        It is a search for the event's id, which opens the event
        (https://docs.sentry.io/concepts/search/).
        """
        if self.sentry_url is None:
            return ""
        project = urlsplit(dsn or "").path.rstrip("/").rpartition("/")[2]
        search = f"project={project}&query=" if project.isdecimal() else "query="
        return f"{self.sentry_url}/issues/?{search}"

    def __repr__(self) -> str:
        return f"Options(write_key={self.masked_write_key!r}, host={self.host!r})"


def mask(write_key: str) -> str:
    """`"…wxyz"`: enough to tell two keys apart, too little to use one."""
    return "…" + write_key[-4:] if len(write_key) >= 8 else "…"


def _write_key(value: object) -> str:
    if value is None:
        value = os.environ.get(WRITE_KEY_VARIABLE, "")
    if not isinstance(value, str):
        # Without the value: it may be the key itself, as bytes.
        raise TypeError(
            f"write_key: expected a Segment source's write key as a string, "
            f"or None to read the environment variable {WRITE_KEY_VARIABLE}; "
            f"got a value of type {type(value).__name__}"
        )
    if not value.isascii() and value != value.encode("utf-8", "replace").decode():
        raise ValueError(
            "write_key: expected a Segment source's write key; got one with bytes that are no text"
        )
    value = _bare("write_key", value, "a Segment source's write key")
    return value if value.strip() else ""


def _bare(option: str, value: str, accepted: str) -> str:
    """The value without the end of a line, which those read from a file often have.

    Raises `ValueError`, which does not show it, where there is something else around it.
    """
    value = value.rstrip("\r\n")
    around = None
    if value[:1] in QUOTES or value[-1:] in QUOTES:
        around = "quotes"
    elif value.strip() and value != value.strip():
        around = "spaces"
    if value and around:
        raise ValueError(
            f"{option}: expected {accepted}; got one with {around} around it, "
            f"as a file of environment variables may leave them: remove them"
        )
    return value


def _host(value: object) -> str:
    if value is None:
        value = os.environ.get(HOST_VARIABLE) or DEFAULT_HOST
    accepted = (
        f"the base URL of Segment or of a compatible collector, such as {DEFAULT_HOST!r}, "
        f"or None to read the environment variable {HOST_VARIABLE}"
    )
    reason = "the write key is what Segment authenticates by: pass it as write_key"
    url = _url("host", value, accepted, reason)
    return url.removesuffix("/v1").rstrip("/")


def _sentry_url(value: object) -> str | None:
    if value is None:
        return None
    accepted = (
        "the base URL of an organization in Sentry, such as 'https://acme.sentry.io' or "
        "'https://sentry.example.com/organizations/acme', or None"
    )
    return _url("sentry_url", value, accepted, "who opens the link is logged in by then")


def _auth_server(value: object) -> str:
    accepted = (
        f"the base URL of the authorization server, such as {oauth_options.DEFAULT_AUTH_SERVER!r}"
    )
    return _url("oauth_auth_server", value, accepted, "the client's key is what is signed with")


def _url(option: str, value: object, accepted: str, without_user: str) -> str:
    """An http(s) URL without a `/` at its end."""
    if not isinstance(value, str):
        wrong_type(option, value, accepted)
    text = _bare(option, value, accepted)
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is not a number from 0 to 65535
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_url = False
    if is_url and (parts.username is not None or parts.password is not None):
        raise ValueError(f"{option}: expected a URL without user name and password; {without_user}")
    if not is_url or parts.query or parts.fragment or any(c <= " " or c == "\x7f" for c in text):
        shown = text.rpartition("@")[2]  # without a password
        raise ValueError(f"{option}: expected {accepted}; got {shown!r}")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _is_plain_http(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_loopback(hostname: str) -> bool:
    if hostname == "localhost" or hostname.endswith(".localhost"):
        return True
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return False


def _event_name(value: object) -> str:
    if not isinstance(value, str):
        wrong_type("event_name", value, "the track call's event name as a string")
    if not value.strip():
        raise ValueError('event_name: expected a name such as "Error Captured"; got an empty one')
    return value


def _optional_callable(option: str, value: object) -> None:
    if value is not None and not callable(value):
        wrong_type(option, value, "a callable or None")


def whole_number(option: str, value: object, minimum: int = 1) -> int:
    accepted = f"a whole number of at least {minimum}"
    if not isinstance(value, int) or isinstance(value, bool):
        wrong_type(option, value, accepted)
    if value < minimum:
        raise ValueError(f"{option}: expected {accepted}; got {value!r}")
    return value


def positive_number(option: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        wrong_type(option, value, "a number of seconds greater than 0")
    if not 0 < value < math.inf:
        raise ValueError(f"{option}: expected a number of seconds greater than 0; got {value!r}")
    return float(min(value, _MOST_SECONDS))


def _rate_limit(value: object) -> tuple[int, float]:
    accepted = "a pair (requests, seconds) such as (200, 1.0)"
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        wrong_type("rate_limit", value, accepted)
    if len(value) != 2:
        raise ValueError(f"rate_limit: expected {accepted}; got {value!r}")
    requests = whole_number("rate_limit (requests)", value[0])
    return requests, positive_number("rate_limit (seconds)", value[1])


def wrong_type(option: str, value: object, accepted: str) -> NoReturn:
    raise TypeError(f"{option}: expected {accepted}; got {value!r} of type {type(value).__name__}")
