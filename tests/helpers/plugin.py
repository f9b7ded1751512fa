"""What Sentry's server-side Segment plugin sends for an event: the reference for the parity tests.

Written from the plugin's own rules, with nothing of the package but its version. The plugin reads
an event after Relay has normalised and scrubbed it, so Relay itself does so here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

from sentry_relay.processing import (
    StoreNormalizer,
    convert_datascrubbing_config,
    pii_strip_event,
)

from sentry_segment import __version__
from sentry_segment.mapping.scrub import without_user

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FORM_OF_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


# Of a new project of Sentry's.
RULES = convert_datascrubbing_config(
    {
        "scrubData": True,
        "scrubDefaults": True,
        "scrubIpAddresses": False,
        "sensitiveFields": [],
        "excludeFields": [],
    }
)


def normalise(payload: bytes) -> dict[str, Any]:
    """An event as Relay hands it on, from the bytes that Sentry was sent.

    But for the user's id, which it would scrub.
    """
    normalised: dict[str, Any] = StoreNormalizer().normalize_event(raw_event=payload)
    scrubbed = stripped(normalised)
    if (normalised.get("user") or {}).get("id") is not None:
        scrubbed["user"]["id"] = normalised["user"]["id"]
    return scrubbed


def stripped(event: dict[str, Any]) -> dict[str, Any]:
    """A normalised event without what Relay's default rules scrub."""
    found: dict[str, Any] = pii_strip_event(RULES, event)
    return found


def track_call(event: dict[str, Any]) -> dict[str, Any] | None:
    """The plugin's message for a normalised event, `None` where it sends nothing.

    In the place of our departures stands what both can be compared by: `timestamp` is in
    microseconds since 1970, `search` a list of pairs, and URLs have no user name and password.
    """
    user = event.get("user") or {}
    # A scrubbed id is no id: a rule of ours.
    if event["type"] != "error" or user.get("id") in (None, "", "[Filtered]"):
        return None

    ours = {"name": "sentry", "version": __version__}
    context: dict[str, Any] = {"library": ours}
    # Relay puts the sender's address in the place of {{auto}}, if it knows one: here it does not.
    if user.get("ip_address") not in (None, "{{auto}}"):
        context["ip"] = user["ip_address"]
    request = event.get("request")
    if request is not None:
        context["userAgent"] = header(request, "user-agent")
        context["page"] = {
            "url": without_user(request.get("url") or ""),
            "method": request.get("method") or "",
            "search": list(_search(request)),
            "referrer": without_user(header(request, "referer")),
        }

    exceptions = (event.get("exception") or {}).get("values") or []
    first_exception = (exceptions[0] if exceptions else None) or {}
    return {
        "type": "track",
        "messageId": event["event_id"],
        "userId": user["id"],
        "event": "Error Captured",
        # A float, of half a microsecond at the worst until the year 2106.
        "timestamp": round(event["timestamp"] * 1_000_000),
        "properties": {
            "eventId": event["event_id"],
            "transaction": event.get("transaction") or "",
            "release": event.get("release") or "",
            "level": event.get("level") or "",
            "environment": event.get("environment") or "",
            "exceptionType": first_exception.get("type") or "",
        },
        "context": context,
        "integration": ours,
    }


def header(request: dict[str, Any], name: str) -> str:
    values = [pair[1] for pair in request.get("headers") or [] if pair and _is(pair[0], name)]
    return (values[-1] if values else None) or ""


def _is(header: str | None, name: str) -> bool:
    return header is not None and header.lower() == name


def _search(request: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for pair in request.get("query_string") or []:
        if pair is not None and pair[0] is not None:
            yield pair[0], pair[1] or ""


def has_own_timestamp(event: dict[str, Any], payload: dict[str, Any]) -> bool:
    """Whether Relay could read the event's timestamp; else it takes the present time."""
    refused = any(error.get("name") == "timestamp" for error in event.get("errors") or [])
    return payload.get("timestamp") is not None and not refused


def as_the_plugin(message: dict[str, Any]) -> dict[str, Any]:
    """A message that Segment received, with our two departures put as `track_call` does."""
    rest = {key: value for key, value in message.items() if key != "sentAt"}  # the request's own
    assert _FORM_OF_TIMESTAMP.fullmatch(message["timestamp"])
    moment = datetime.fromisoformat(message["timestamp"].replace("Z", "+00:00"))
    rest["timestamp"] = (moment - _EPOCH) // timedelta(microseconds=1)
    if "page" in message["context"]:
        page = message["context"]["page"]
        # A "?" in front would become a part of the first name.
        pairs = parse_qsl(page["search"], keep_blank_values=True)
        rest["context"] = {**message["context"], "page": {**page, "search": pairs}}
    return rest
