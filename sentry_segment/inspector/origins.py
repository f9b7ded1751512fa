"""Where the fields of a message come from, and what became of them on the way. Pure functions."""

from __future__ import annotations

from typing import Any, TypedDict

from sentry_segment.mapping import message, relay
from sentry_segment.mapping.sensitive import FILTERED

HEADERS = "request.headers."
FIRST_EXCEPTION = "exception.values[0]"

# Of each field of a message, the fields of an event that it may come from, the first one that is
# there; or in words, where it comes from none.
ORIGINS: dict[str, tuple[str, ...] | str] = {
    "type": "a mirrored error is a track call",
    "messageId": ("event_id",),
    "userId": ("user.id",),
    "anonymousId": "the visitor's cookie ajs_anonymous_id, or set_anonymous_id",
    "event": "the option event_name",
    "timestamp": ("timestamp",),
    "properties.eventId": ("event_id",),
    "properties.transaction": ("transaction",),
    "properties.release": ("release",),
    "properties.level": ("level",),
    "properties.environment": ("environment", "tags.environment"),
    "properties.exceptionType": (f"{FIRST_EXCEPTION}.type", f"{FIRST_EXCEPTION}.value"),
    "properties.sentryUrl": "the option sentry_url",
    "context.library.name": "this package",
    "context.library.version": "this package",
    "context.ip": ("user.ip_address", "request.env.REMOTE_ADDR"),
    "context.userAgent": (f"{HEADERS}User-Agent",),
    "context.page.url": ("request.url",),
    "context.page.method": ("request.method",),
    "context.page.search": ("request.query_string", "request.url"),
    "context.page.referrer": (f"{HEADERS}Referer",),
    "integration.name": "this package",
    "integration.version": "this package",
    "sentAt": "the time of sending",
    "writeKey": "the option write_key",
}


class Field(TypedDict):
    """A field of a message, and what became of it."""

    name: str
    value: Any
    origin: str
    """The event's field, or words."""
    was: Any
    """What the event has there; `None` where it has nothing, or is not to be asked."""
    note: str
    """"filtered", "cut", "normalised", "filled in", "edited", or `""`."""


def fields(sent: dict[str, Any], event: dict[str, Any]) -> list[Field]:
    """The fields of a message that was made of this event, in their order."""
    parts = message.parts(
        event, str(sent.get("event")), visitor=lambda event: sent.get("anonymousId")
    )
    made = {} if parts is None else dict(_leaves(message.track_message(parts)))
    return [_field(name, value, event, made) for name, value in _leaves(sent)]


def _field(name: str, value: Any, event: dict[str, Any], made: dict[str, Any]) -> Field:
    origin = ORIGINS.get(name, "not of the mirror: before_track, say")
    if isinstance(origin, str):
        return {"name": name, "value": value, "origin": origin, "was": None, "note": ""}
    found = [(path, _at(event, path)) for path in origin]
    path, was = next((each for each in found if each[1] not in (None, "")), found[0])
    note = _note(value, was, made.get(name))
    return {"name": name, "value": value, "origin": path, "was": was, "note": note}


def _note(value: Any, was: Any, made: Any) -> str:
    if was in (None, ""):
        return "" if value in (None, "") else "filled in"
    if value == was:
        return ""
    text = str(value)
    if FILTERED in text:
        return "filtered"
    if text.endswith("...") and str(made).startswith(text[:-3]) and len(text) < len(str(made)):
        return "cut"
    return "normalised" if value == made else "edited"


def _leaves(content: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(content, dict) and content:
        within = f"{name}." if name else ""
        return [leaf for key in content for leaf in _leaves(content[key], f"{within}{key}")]
    return [(name, content)]


def _at(event: dict[str, Any], path: str) -> Any:
    """What an event has there. Lists of pairs are read as mappings, as the mapping does."""
    if path.startswith(FIRST_EXCEPTION):
        value: Any = relay.first_exception(event.get("exception"))
        return value.get(path.rpartition(".")[2]) if isinstance(value, dict) else None
    value = event
    for key in path.split("."):
        is_header = path.startswith(HEADERS) and value is not event and key != "headers"
        value = _entry(value, key, is_header)
    return value


def _entry(value: Any, key: str, is_header: bool) -> Any:
    if isinstance(value, dict) and not is_header:
        return value.get(key)
    found = None
    for name, each in relay.pairs(value):
        if name == key or (is_header and name.lower() == key.lower()):
            found = each
    return found
