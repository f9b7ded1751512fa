"""Sentry's side: the events in an envelope.

https://develop.sentry.dev/sdk/foundations/transport/envelopes/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sentry_segment.inspector import summary
from sentry_segment.inspector.bodies import BodyError, decompress, dump, parse
from sentry_segment.inspector.objections import MAX_ID_LENGTH, Objection
from sentry_segment.inspector.store import Record
from sentry_segment.tunnel.envelope import header_and_items

# Types of items that are counted by their name. What has another is counted as "other", for a
# client may call an item what it likes.
COUNTED = frozenset(
    {
        *("transaction", "span", "session", "sessions", "check_in", "client_report", "feedback"),
        *("user_report", "attachment", "log", "profile", "profile_chunk", "statsd"),
        *("trace_metric", "replay_event", "replay_recording"),
    }
)


def take(
    path: str, headers: Mapping[str, str], body: bytes | BodyError
) -> tuple[int, list[Record], list[str]]:
    """The answer's status to an envelope, the records of its events, the types of the rest."""
    size = 0 if isinstance(body, BodyError) else len(body)
    try:
        body = decompress(body, headers.get("content-encoding", ""))
        size = len(body)
        items = list(header_and_items(body, parse)[1])
        records = [_record(path, payload) for kind, payload in items if kind == "event"]
    except ValueError as error:
        status = error.status if isinstance(error, BodyError) else 400
        objection = Objection.UNREADABLE.text(error)
        return status, [Record("sentry", path, status, size, objections=(objection,))], []
    others = [kind if kind in COUNTED else "other" for kind, _ in items if kind != "event"]
    return 200, records, others


def _record(path: str, payload: bytes) -> Record:
    event = parse(payload)
    if not isinstance(event, dict):
        raise BodyError("an event in it is no JSON object")
    return Record(
        side="sentry",
        path=path,
        status=200,
        bytes=len(payload),
        id=_id(event.get("event_id")),
        summary=summary.of_event(event),
        text=dump(event),
    )


def _id(event_id: Any) -> str | None:
    """The event id as the mirror writes it, where it is one: without dashes."""
    try:
        return UUID(event_id).hex
    except (ValueError, TypeError, AttributeError):
        return str(event_id)[:MAX_ID_LENGTH] if event_id else None
