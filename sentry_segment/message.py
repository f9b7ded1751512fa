"""Sentry event -> Segment message, as Sentry's own server-side plugin does it. Pure functions."""

from __future__ import annotations

from typing import Any, TypedDict

from sentry_segment import relay
from sentry_segment._version import __version__


class TrackMessage(TypedDict):
    """A Segment `track` call (https://segment.com/docs/connections/spec/track/).

    `properties` holds `eventId`, `transaction`, `release`, `level`, `environment` and
    `exceptionType`, all texts. `context` holds `library` and, where the event has them, `ip`,
    `userAgent` and `page` (with `url`, `method`, `search` and `referrer`).
    """

    type: str
    messageId: str
    userId: str
    event: str
    timestamp: str
    properties: dict[str, Any]
    context: dict[str, Any]
    integration: dict[str, Any]


def track_message(event: dict[str, Any], event_name: str) -> TrackMessage | None:
    """The message for an event as Sentry is handed it; `None` where nothing is to be mirrored.

    Mirrored are errors (at least one exception value) of a user with an id. The message shares no
    container with the event, so it keeps nothing of it alive but a few texts.
    """
    values = relay.exceptions(event.get("exception"))
    if values is None or event.get("type") in ("transaction", "feedback"):
        return None
    user = event.get("user")
    user_id = _user_id(user)
    if user_id is None:
        return None

    event_id = relay.event_id(event.get("event_id"))
    return {
        "type": "track",
        "messageId": event_id,
        "userId": user_id,
        "event": event_name,
        "timestamp": relay.timestamp(event.get("timestamp")),
        "properties": {
            "eventId": event_id,
            "transaction": relay.transaction(event.get("transaction")),
            "release": relay.release(event.get("release")),
            "level": relay.level(event.get("level")),
            "environment": relay.environment(event.get("environment"), event.get("tags")),
            "exceptionType": relay.exception_type(values[0]) if values else "",
        },
        "context": _context(user, event.get("request")),
        "integration": {"name": "sentry", "version": __version__},
    }


def characters(message: TrackMessage) -> int:
    """How many characters a message has, about: those of its texts that may be long."""
    context, page = message["context"], message["context"].get("page", {})
    texts = (message["userId"], context.get("userAgent", ""), *message["properties"].values())
    return sum(map(len, texts)) + sum(map(len, page.values()))


def _user_id(user: object) -> str | None:
    if not isinstance(user, dict):
        return None
    user_id = relay.text(user.get("id"))
    # "[Filtered]" is what scrubbing leaves behind: not somebody's id.
    return user_id if user_id not in (None, "", "[Filtered]") else None


def _context(user: Any, request: Any) -> dict[str, Any]:
    context: dict[str, Any] = {"library": {"name": "sentry", "version": __version__}}
    env = request.get("env") if isinstance(request, dict) else None
    remote_address = env.get("REMOTE_ADDR") if isinstance(env, dict) else None
    ip = relay.ip_address(user.get("ip_address"), remote_address)
    if ip is not None:
        context["ip"] = ip
    if relay.has_request(request):
        headers = request.get("headers")
        context["userAgent"] = relay.header(headers, "user-agent")
        context["page"] = {
            "url": relay.url(request.get("url")),
            "method": relay.method(request.get("method")),
            "search": relay.query(request.get("query_string"), request.get("url")),
            "referrer": relay.header(headers, "referer"),
        }
    return context
