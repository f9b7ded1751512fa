"""What the page's list shows of a message or an event."""

from __future__ import annotations

from typing import Any, TypedDict

from sentry_segment.mapping import message, relay

_MAX_LENGTH = 300  # characters


class Summary(TypedDict, total=False):
    """Texts, cut where they are long. What is not there is left out."""

    kind: str
    """"track", "identify" and so on; "event" at Sentry."""
    title: str
    """The exception's type; of a message that is no error, its name."""
    value: str
    """The exception's text, which Sentry alone is sent."""
    user: str
    transaction: str
    release: str
    environment: str
    timestamp: str
    is_error: bool
    is_anonymous: bool
    """Whether it has no user's id."""
    why_not: str
    """Why an event has no message at Segment, where it should have none."""


def of_message(content: Any, kind: str) -> Summary:
    """The summary of a Segment message."""
    if not isinstance(content, dict):
        return {"kind": kind}
    properties = _dict(content.get("properties"))
    error = properties.get("exceptionType")
    found: dict[str, Any] = {
        "kind": kind,
        "title": error or content.get("event") or content.get("name"),
        "user": content.get("userId") or content.get("anonymousId"),
        "timestamp": content.get("timestamp"),
        "is_anonymous": content.get("userId") in (None, ""),
        "is_error": kind == "track" and isinstance(error, str),
        **{name: properties.get(name) for name in ("transaction", "release", "environment")},
    }
    return _short(found)


def of_event(event: dict[str, Any]) -> Summary:
    """The summary of a Sentry event."""
    exception = relay.first_exception(event.get("exception"))
    found: dict[str, Any] = {
        "kind": "event",
        "title": relay.exception_type(exception) if exception is not None else _text_of(event),
        "value": _dict(exception).get("value"),
        "user": _dict(event.get("user")).get("id"),
        "is_anonymous": _dict(event.get("user")).get("id") in (None, "", "[Filtered]"),
        "is_error": exception is not None,
        **{name: event.get(name) for name in ("transaction", "release", "environment")},
        "timestamp": event.get("timestamp"),
    }
    if message.parts(event, "") is None:
        found["why_not"] = "no exception" if exception is None else "no user id"
    return _short(found)


def _text_of(event: dict[str, Any]) -> Any:
    """The text of an event that has a message in place of an exception."""
    entry = _dict(event.get("logentry"))
    return entry.get("formatted") or entry.get("message") or event.get("message")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _short(found: dict[str, Any]) -> Summary:
    summary: Any = {
        name: value if isinstance(value, bool) else str(value)[:_MAX_LENGTH]
        for name, value in found.items()
        if isinstance(value, bool) or (isinstance(value, (str, int, float)) and value != "")
    }
    short: Summary = summary
    return short
