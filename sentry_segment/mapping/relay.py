"""Relay's normalisation of the few fields that a message is made of.

Sentry's server-side plugin reads an event after Relay has normalised it; the mirror stands before
Relay, so it applies the same rules itself. Each function takes a value as the SDK hands it over,
of any type, and returns what Relay would make of it, or `None` (or `""`) where Relay would
discard it. The tests compare all of them with Relay itself (the package `sentry-relay`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any
from uuid import UUID, uuid4

_HEX = "0123456789abcdef"

_LEVEL_NAMES = {
    **{name: name for name in ("debug", "info", "warning", "error", "fatal")},
    "log": "info",
    "critical": "fatal",
}
_LEVEL_NUMBERS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "fatal"}

_MAX_RELEASE = 200  # bytes in UTF-8
MAX_ENVIRONMENT = 64
_VERSION_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\]")
_TYPE_IN_VALUE = re.compile(r"(\w+):[^\n]*")

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


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
    for tag, tag_value in pairs(tags):
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


def infer_ip(event: Mapping[str, Any]) -> str:
    """What the SDK has set of addresses it did not give: `auto`, `never` or `legacy`, the default.

    What Sentry does not know counts as `never`
    (https://develop.sentry.dev/sdk/foundations/envelopes/event-payloads/sdk/).
    """
    sdk = event.get("sdk")
    settings = sdk.get("settings") if isinstance(sdk, dict) else None
    setting = settings.get("infer_ip") if isinstance(settings, dict) else None
    if setting is None:
        return "legacy"
    return setting if setting in ("auto", "legacy") else "never"


def _is_ipv6(value: str) -> bool:
    if ":" not in value or "%" in value or len(value) > 45:
        return False
    try:
        IPv6Address(value)
    except ValueError:
        return False
    return True


def pairs(value: object) -> Iterator[tuple[str, object]]:
    """The entries of a mapping, or of a list of pairs, that have a name."""
    entries: Any = value.items() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)):
        return
    for entry in entries:
        if isinstance(entry, (list, tuple)) and len(entry) == 2:
            key, content = entry
            if isinstance(key, str):
                yield key, content
