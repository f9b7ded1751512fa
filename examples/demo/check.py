"""Holds what Sentry and Segment received against what the visits must have brought them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo.shop import ENVIRONMENT, RELEASE
from demo.visits import Visited
from sentry_segment.inspector.store import Record, Store


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, how often, and what was wrong with it."""

    what: str
    looked_at: int
    problems: Sequence[str] = ()


def checks(store: Store, visited: Sequence[Visited], write_key: str) -> list[Check]:
    """Everything that the demo promises. A check without problems is passed."""
    at_sentry, at_segment = of_side(store, "sentry"), of_side(store, "segment")
    events = [record.payload for record in at_sentry]
    messages = [record.payload for record in at_segment]
    return [
        _answers(visited),
        _same(
            "Sentry: one transaction for each request",
            expected=["transaction"] * len(visited),
            actual=["transaction"] * store.others.get("transaction", 0),
        ),
        _same(
            "Sentry: user and exceptions of each event",
            expected=[_sentry_pair(v) for v in visited if v.visit.has_event],
            actual=[_pair_of_event(event) for event in events],
        ),
        _same(
            "Segment: user and exception of each track call",
            expected=[_segment_pair(v) for v in visited if v.visit.is_mirrored],
            actual=[
                (at(message, "userId"), at(message, "properties.exceptionType"))
                for message in messages
            ],
        ),
        *_fields(messages, visited, {request_id(event): event for event in events}),
        _write_key(at_segment, write_key),
        _no_objections(at_segment),
        _no_trace(at_sentry, write_key),
    ]


def of_side(store: Store, side: str) -> list[Record]:
    """What arrived at one of the two."""
    return [record for record in store.records if record.side == side]


def request_id(event: dict[str, Any]) -> str | None:
    """The `X-Request-Id` of the visit that an event or transaction stems from."""
    headers: dict[str, str] = at(event, "request.headers") or {}
    return headers.get("X-Request-Id")


def at(value: Any, path: str) -> Any:
    """What is at a dotted path; `None` where there is nothing."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def exception_types(event: dict[str, Any]) -> tuple[str, ...]:
    """The types of an event's exceptions, the cause first."""
    return tuple(value["type"] for value in at(event, "exception.values") or ())


def _answers(visited: Sequence[Visited]) -> Check:
    problems = [
        f"{v.visit.method} {v.visit.target}: expected {v.visit.status}, got {v.status}"
        for v in visited
        if v.status != v.visit.status
    ]
    return Check("The shop's answers", len(visited), problems)


def _sentry_pair(visited: Visited) -> tuple[int | None, tuple[str, ...] | str | None]:
    visit = visited.visit
    return visit.user_id, visit.exceptions or visit.message


def _pair_of_event(event: dict[str, Any]) -> tuple[int | None, tuple[str, ...] | str | None]:
    return at(event, "user.id"), exception_types(event) or event.get("message")


def _segment_pair(visited: Visited) -> tuple[str, str]:
    return str(visited.visit.user_id), visited.visit.exceptions[0]


def _same(what: str, expected: Sequence[Any], actual: Sequence[Any]) -> Check:
    missing = Counter(expected) - Counter(actual)
    unexpected = Counter(actual) - Counter(expected)
    problems = [f"missing: {thing}" for thing in missing.elements()]
    problems += [f"not expected: {thing}" for thing in unexpected.elements()]
    return Check(what, len(expected), problems)


def _fields(
    arrived: Sequence[Any], visited: Sequence[Visited], events: dict[str | None, dict[str, Any]]
) -> list[Check]:
    """A check for each field, over all messages that can be told to belong to a visit."""
    messages = {at(message, "messageId"): message for message in arrived}
    problems: dict[str, list[str]] = {}
    looked_at: Counter[str] = Counter()
    for v in visited:
        if not v.visit.is_mirrored:
            continue
        event = events.get(v.request_id, {})
        message = messages.get(event.get("event_id"))
        if message is None:
            continue  # said by the check of users and exceptions
        for path, expected in _expected_fields(v, event).items():
            looked_at[path] += 1
            actual = at(message, path)
            if path == "timestamp":
                expected, actual = _moment(expected), _moment(actual)
            if actual != expected or expected is None:
                problem = (
                    f"{v.visit.method} {v.visit.target}: expected {expected!r}, got {actual!r}"
                )
                problems.setdefault(path, []).append(problem)
    return [Check(path, count, problems.get(path, ())) for path, count in looked_at.items()]


def _expected_fields(v: Visited, event: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "track",
        "messageId": event.get("event_id"),
        "userId": str(v.visit.user_id),
        "event": "Error Captured",
        "timestamp": event.get("timestamp"),
        "properties.eventId": event.get("event_id"),
        "properties.exceptionType": v.visit.exceptions[0],
        "properties.transaction": v.visit.transaction,
        "properties.release": RELEASE,
        "properties.environment": ENVIRONMENT,
        "properties.level": "error",
        "context.ip": v.visit.visitor.ip,
        "context.userAgent": v.visit.visitor.user_agent,
        "context.page.url": str(v.url.copy_with(query=None)),
        "context.page.method": v.visit.method,
        "context.page.search": v.url.query.decode(),
        "context.page.referrer": v.referrer,
    }


def _moment(timestamp: Any) -> datetime | None:
    """A time to the millisecond, which is what Segment keeps; `None` unless in UTC, with a Z."""
    for form in ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            moment = datetime.strptime(str(timestamp), form)
        except ValueError:
            continue
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    return None


def _write_key(at_segment: Sequence[Record], write_key: str) -> Check:
    masked = "…" + write_key[-4:]  # the inspector keeps no more of it
    problems = [
        f"{record.path}: user name {record.write_key!r}"
        for record in at_segment
        if record.write_key != masked
    ]
    return Check("Segment: the write key in the Authorization header", len(at_segment), problems)


def _no_objections(at_segment: Sequence[Record]) -> Check:
    problems = [objection for record in at_segment for objection in record.objections]
    return Check("Segment: nothing to object to", len(at_segment), problems)


def _no_trace(at_sentry: Sequence[Record], write_key: str) -> Check:
    problems = [
        f"{trace!r} in {record.text[:60]!r}"
        for record in at_sentry
        for trace in (write_key, "/v1/track", "/v1/batch")
        if trace in record.text
    ]
    return Check("Sentry: no trace of the mirror's own requests", len(at_sentry), problems)
