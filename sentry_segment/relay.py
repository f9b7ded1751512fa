"""Relay's normalisation of the few fields that a message is made of.

Sentry's server-side plugin reads an event after Relay has normalised it; the mirror stands before
Relay, so it applies the same rules itself. Each function takes a value as the SDK hands it over,
of any type, and returns what Relay would make of it, or `None` (or `""`) where Relay would
discard it. The tests compare all of them with Relay itself (the package `sentry-relay`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from ipaddress import IPv6Address
from itertools import product
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

_HEX = "0123456789abcdef"
_UTC_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_ISO_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_LEVEL_NAMES = {
    **{name: name for name in ("debug", "info", "warning", "error", "fatal")},
    "log": "info",
    "critical": "fatal",
}
_LEVEL_NUMBERS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "fatal"}

_MAX_RELEASE = 200  # bytes in UTF-8
MAX_ENVIRONMENT = 64
_VERSION_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\]")


_METHOD = re.compile(r"[A-Z_-]{3,32}")
_TYPE_IN_VALUE = re.compile(r"(\w+):[^\n]*")

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")

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

# Characters that a path keeps as they are; the others are percent-encoded
# (https://url.spec.whatwg.org/#path-percent-encode-set).
_PATH_SAFE = "/%!$&'()*+,;=:@[]|^~"
_PLAIN_URL = re.compile(
    r"https?://[a-z0-9][a-z0-9.-]*(?::[0-9]{4,5})?(?:/(?!\.)[A-Za-z0-9_!$&'()*+,;=:@~.-]*)+"
)
_SPECIAL_URL = re.compile(r"(https?|wss?|ftp):[/\\]*([^/\\]*)(.*)", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"(?!https?:|wss?:|ftp:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443, "ftp": 21}
_HOST_FORBIDDEN = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]")


def exact(value: object) -> object:
    """The characters alone of a text of a subclass, which may hold on to whatever it likes."""
    return value if type(value) is str or not isinstance(value, str) else str.__str__(value)


def text(value: object) -> str | None:
    """Text, or a number or truth value as Relay writes it; `None` for anything else."""
    if type(value) is str:
        return value
    value = exact(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, int):
        try:
            return int.__repr__(value)
        except ValueError:  # more digits than Python converts
            return None
    if isinstance(value, float) and abs(value) < 2**53:
        return "-0" if -1 < value < 0 or str(value) == "-0.0" else str(int(value))
    return None


def event_id(value: object) -> str:
    """The event id as 32 lower-case hexadecimal digits; a new one where there is none."""
    if type(value) is not str:
        value = exact(value)
    if isinstance(value, str):
        if len(value) == 32 and not value.strip(_HEX):
            return value
        try:
            return UUID(value).hex
        except ValueError:
            pass
    return uuid4().hex


def timestamp(value: object) -> str:
    """ISO 8601 in UTC with microseconds and `Z`; the present time where it can't be read."""
    if type(value) is not str:
        value = exact(value)
    if isinstance(value, str) and _UTC_TIMESTAMP.fullmatch(value):
        try:
            datetime.fromisoformat(value[:-1])
            return value
        except ValueError:
            pass
    moment = _moment(value) or datetime.now(timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


def _moment(value: object) -> datetime | None:
    try:
        if isinstance(value, str) and (match := _ISO_TIMESTAMP.fullmatch(value)):
            seconds, fraction, offset = match.groups()
            zone = "+00:00" if offset in (None, "Z") else f"{offset[:3]}:{offset[-2:]}"
            moment = datetime.fromisoformat(seconds + zone)
            nanoseconds = int((fraction or "0").ljust(9, "0"))
            moment += timedelta(microseconds=(nanoseconds + 500) // 1000)
            return moment.astimezone(timezone.utc)
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
            return aware.astimezone(timezone.utc)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
            return _EPOCH + timedelta(seconds=value)
    except (ValueError, OverflowError):
        pass
    return None


def level(value: object) -> str:
    """One of Sentry's five levels; `"error"` where it is none of them."""
    if isinstance(value, str):
        return _LEVEL_NAMES.get(value, "error")
    if isinstance(value, int):
        return _LEVEL_NUMBERS.get(value, "error")
    return "error"


# Both are kept for the next events: a process has one release and one environment, as a rule.


def release(value: object) -> str:
    """The release, `""` where Sentry does not allow it as one."""
    name = (text(value) or "").strip()
    return name if 0 < len(name) <= _MAX_RELEASE and _is_release(name) else ""


@lru_cache(maxsize=16)
def _is_release(name: str) -> bool:
    return _is_version(name, _MAX_RELEASE) and name.lower() != "latest"


def environment(value: object, tags: object) -> str:
    """The environment, else the tag of this name; `""` where Sentry does not allow it."""
    name = str.strip(value) if isinstance(value, str) else ""
    if 0 < len(name) <= MAX_ENVIRONMENT and is_environment(name):
        return name
    for tag, tag_value in _pairs(tags):
        if tag == "environment":
            name = (text(tag_value) or "").strip()
            return "" if "\n" in name else name
    return ""


@lru_cache(maxsize=16)
def is_environment(name: str) -> bool:
    """Whether Sentry allows the environment, as it is."""
    return name == name.strip() and _is_version(name, MAX_ENVIRONMENT) and name.lower() != "none"


def _is_version(name: str, size: int) -> bool:
    if name in (".", "..") or _VERSION_FORBIDDEN.search(name):
        return False
    return len(name.encode("utf-8", "replace")) <= size


def transaction(value: object) -> str:
    """The transaction's name without white space around it."""
    return value.strip() if isinstance(value, str) else ""


def first_exception(value: object) -> object:
    """The first exception value; `None` where the event is no error.

    Relay takes an event for an error where there is at least one value, even an empty one.
    """
    if isinstance(value, dict) and value:
        value = value.get("values", [value])
    if isinstance(value, list) and value:
        for entry in value:
            if entry is not None:
                found: object = entry
                return found
        return {}
    return None


def exception_type(value: object) -> str:
    """The type of one exception value, as given or from a value such as `"TypeError: ..."`."""
    if not isinstance(value, dict):
        return ""
    given = value.get("type")
    if isinstance(given, str) and given:
        return str(exact(given))
    shown = exact(value.get("value"))
    if isinstance(shown, str) and (match := _TYPE_IN_VALUE.fullmatch(shown)):
        return match[1]
    return ""


def ip_address(*candidates: object) -> str | None:
    """The first candidate that is an IP address."""
    for candidate in candidates:
        if isinstance(candidate, str) and (_IPV4.fullmatch(candidate) or _is_ipv6(candidate)):
            return str(exact(candidate))
    return None


def _is_ipv6(value: str) -> bool:
    if ":" not in value or "%" in value or len(value) > 45:
        return False
    try:
        IPv6Address(value)
    except ValueError:
        return False
    return True


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


def _spellings(header: str) -> set[str]:
    return {
        "".join(letters)
        for letters in product(*map(set, zip(header.lower(), header.upper(), strict=True)))
    }


# All but the usual ones: to look for them among an event's headers takes a quarter of the time that
# bringing each header's name into lower case does.
ODD_SPELLINGS = (_spellings("User-Agent") | _spellings("Referer")) - {
    *("User-Agent", "user-agent"),
    *("Referer", "referer"),
}


def last_header(headers: object, name: str) -> object:
    """The value of the last header of this name (in lower case); `""` where there is none."""
    found: object = ""
    spelling = ""
    sort = isinstance(headers, dict)  # Relay reads a mapping sorted by its keys
    for key, value in _pairs(headers):
        if len(key) == len(name) and key.lower() == name and not (sort and key < spelling):
            found, spelling = value, key
    return found


def header(value: object) -> str:
    """A header's value as text, `""` where there is none; several of one name as one."""
    if type(value) is str:
        return value
    if isinstance(value, list):
        value = ",".join(part for part in map(text, value) if part is not None)
    return text(value) or ""


def query(query_string: object, url: object) -> str:
    """The query string as text without a leading `?`, else the URL's."""
    if isinstance(query_string, str):
        return str.removeprefix(query_string, "?")
    if isinstance(query_string, (dict, list)):
        pairs = [(key, _query_value(value)) for key, value in _pairs(query_string)]
        if isinstance(query_string, dict):
            pairs.sort()  # as Relay reads a mapping
        return urlencode(pairs, errors="replace")
    return _query_in(str.__str__(url)) if isinstance(url, str) else ""


def _query_in(url: str) -> str:
    if url.endswith("…"):  # Relay spells it out
        url = url[:-1] + "..."
    beginning, _, found = url.partition("#")[0].partition("?")
    if found.startswith("?") and not _has_scheme(beginning):
        return found[1:]  # what is no URL to Relay, it reads as text, as it does a query string
    return found


def _has_scheme(url: str) -> bool:
    return _standard_url(url) is not None or _OTHER_SCHEME.match(url) is not None


def _query_value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    except (TypeError, ValueError, RecursionError):  # no JSON: Sentry won't get it either
        return ""


def _pairs(value: object) -> Iterator[tuple[str, object]]:
    """The entries of a mapping, or of a list of pairs, that have a name."""
    entries: Any = value.items() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)):
        return
    for entry in entries:
        if isinstance(entry, (list, tuple)) and len(entry) == 2:
            key, content = entry
            if isinstance(key, str):
                yield key, content


def url(value: object) -> str:
    """The URL without query and fragment, in the form that the URL standard gives it."""
    if type(value) is not str:
        value = exact(value)
    if not isinstance(value, str):
        return ""
    if _PLAIN_URL.fullmatch(value):
        return value
    plain = value.partition("#")[0].partition("?")[0]
    if _PLAIN_URL.fullmatch(plain):
        return plain
    if value.endswith("…"):  # Relay spells it out
        plain = (value[:-1] + "...").partition("#")[0].partition("?")[0]
    return _standard_url(plain) or plain


def _standard_url(value: str) -> str | None:
    """The URL standard's serialisation of an http-like URL (https://url.spec.whatwg.org/)."""
    value = re.sub(r"[\t\r\n]", "", value.strip("".join(map(chr, range(0x21)))))
    match = _SPECIAL_URL.fullmatch(value)
    if not match:
        return None
    scheme, authority, path = match[1].lower(), match[2], match[3]
    userinfo, at, host_and_port = authority.rpartition("@")
    host = _host_and_port(scheme, host_and_port)
    if host is None:
        return None
    encoded = quote(path.replace("\\", "/"), safe=_PATH_SAFE, errors="replace")
    return f"{scheme}://{userinfo}{at}{host}{_without_dots(encoded)}"


def _host_and_port(scheme: str, value: str) -> str | None:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:]+)(?::([0-9]{0,9}))?", value)
    if not match:
        return None
    host, port = match[1].lower(), int(match[2]) if match[2] else None
    if len(host) > 253:  # no name is longer (RFC 1035)
        return None
    if not host.startswith("["):
        try:
            host = host.encode("idna").decode() if not host.isascii() else host
        except UnicodeError:
            return None
        if _HOST_FORBIDDEN.search(host):
            return None
    if port is not None and port > 65535:
        return None
    return host if port in (None, _DEFAULT_PORTS[scheme]) else f"{host}:{port}"


def _without_dots(path: str) -> str:
    """The path with its `.` and `..` segments resolved."""
    kept: list[str] = []
    segments = path.split("/")[1:] or [""]
    for index, segment in enumerate(segments):
        dots = segment.lower().replace("%2e", ".")
        if dots == ".." and kept:
            kept.pop()
        if dots not in (".", ".."):
            kept.append(segment)
        elif index == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)
