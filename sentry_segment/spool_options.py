"""The option `spool`, checked: a file's path, or the URL of a Redis. No error shows a password."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from urllib.parse import urlsplit

_ACCEPTED = (
    "the path of a file, as a string or a pathlib.Path, or the URL of a Redis, such as "
    "'redis://localhost:6379/0', or None"
)
_INSTALL = 'pip install "sentry-segment[redis]"'
_LIKE_A_URL = re.compile(
    r"://|^\W*(?:redis|rediss|valkey|valkeys|unix):|:[^/]*@[^/]*:\d", re.IGNORECASE
)
_URL = re.compile("[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_redis(place: str | None) -> bool:
    """Whether it is the URL of a Redis or a Valkey."""
    return place is not None and _URL.match(place) is not None


def place(value: object) -> str | None:
    """The place of the spool: an absolute path, or a URL."""
    if value is None:
        return None
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(path, str):
        raise TypeError(f"spool: expected {_ACCEPTED}; got one of type {type(value).__name__}")
    if isinstance(value, str) and is_redis(value):
        return _redis(value)
    if _LIKE_A_URL.search(path):
        raise ValueError(
            f"spool: expected {_ACCEPTED}; got neither, but what looks like a URL: without quotes "
            f"or spaces around it, it begins with redis:// or rediss://"
        )
    if not path or "\0" in path:
        raise ValueError(f"spool: expected {_ACCEPTED}; got {value!r}")
    return os.path.abspath(path)  # the same file, wherever the process goes


def check_extra(place: str | None) -> None:
    """Raises `ImportError` where the place needs a package that is missing."""
    if is_redis(place) and find_spec("redis") is None:
        raise ImportError(f"spool: a Redis needs the package redis: {_INSTALL}")


def _redis(url: str) -> str:
    problem = ""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is not a number from 0 to 65535
        kind = parts.scheme
        if kind not in ("redis", "rediss", "valkey", "valkeys", "unix"):
            problem = f"one that begins with {kind}://"
        elif kind == "unix" and len(parts.path) < 2:
            problem = "one without a socket's path"
        elif kind != "unix" and not parts.hostname:
            problem = "one without a host"
        elif kind != "unix" and not re.fullmatch(r"/?|/\d+", parts.path):
            problem = "one whose database is no number"
        elif any(c <= " " or c == "\x7f" for c in url):
            problem = "one with spaces"
    except ValueError:
        problem = "one that is no URL: certain characters of a password must be percent-encoded"
    if problem:
        raise ValueError(f"spool: expected {_ACCEPTED}; got {problem}")
    return url
