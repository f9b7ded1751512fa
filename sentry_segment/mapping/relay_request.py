"""How Relay reads an event's request, but for its URL: method, headers, query string."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from itertools import dropwhile, product
from urllib.parse import urlencode

from sentry_segment.mapping.relay import exact, pairs, text
from sentry_segment.mapping.relay_url import query_in

_METHOD = re.compile(r"[A-Z_-]{3,32}")

_REQUEST_FIELDS = (
    "url",
    "method",
    "headers",
    "query_string",
    "env",
    "data",
    "cookies",
    "fragment",
    "protocol",
    "api_target",
    "body_size",
)


def has_request(value: object) -> bool:
    """Whether the event has a request: one with at least one field that says something."""
    if not isinstance(value, dict):
        return False
    if value.get("method") is not None:
        return True
    return any(value.get(field) not in (None, "", [], {}) for field in _REQUEST_FIELDS)


def method(value: object) -> str:
    """The HTTP method in upper case."""
    if type(value) is not str:
        value = exact(value)
    return _method(value) if isinstance(value, str) and len(value) <= 32 else ""


@lru_cache(maxsize=16)
def _method(value: str) -> str:
    # isascii: upper() makes ASCII of some other letters.
    return value.upper() if value.isascii() and _METHOD.fullmatch(value.upper()) else ""


def odd_spellings(name: str) -> set[str]:
    """All spellings of a header's name but the usual ones: `User-Agent` as given, `user-agent`.

    There are twice as many for each letter more.
    """
    letters = map(set, zip(name.lower(), name.upper(), strict=True))
    return {"".join(spelling) for spelling in product(*letters)} - {name, name.lower()}


def last_header(headers: object, name: str) -> object:
    """The value of the last header of this name (in lower case); `""` where there is none."""
    found: object = ""
    spelling = ""
    sort = isinstance(headers, dict)  # Relay reads a mapping sorted by its keys
    for key, value in pairs(headers):
        if len(key) == len(name) and key.lower() == name and not (sort and key < spelling):
            found, spelling = value, key
    return found


def header(value: object) -> str:
    """A header's value as text, `""` where there is none; several of one name as one."""
    if type(value) is str:
        return value
    if isinstance(value, list):
        parts = [part for part in map(text, value) if part is not None]
        return ",".join(dropwhile(lambda part: not part, parts))
    return text(value) or ""


def query_of_url(url: object) -> str:
    """The query string in a URL, with a leading `?`."""
    return "?" + query_in(str.__str__(url)) if isinstance(url, str) else ""


def query(query_string: object) -> str:
    """The query string as text without a leading `?`."""
    if isinstance(query_string, str):
        return str.removeprefix(query_string, "?")
    entries = [(key, _query_value(value)) for key, value in pairs(query_string)]
    if isinstance(query_string, dict):
        entries.sort()  # as Relay reads a mapping
    return urlencode(entries, errors="replace")


def _query_value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    except (TypeError, ValueError, RecursionError):  # no JSON: Sentry won't get it either
        return ""
