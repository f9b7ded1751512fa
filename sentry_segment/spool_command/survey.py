"""What waits in a spool, added up, and told in words or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from sentry_segment.spool.contract import Waiting


def as_json(place: str, survey: Sequence[Waiting], has_key: bool) -> str:
    """All figures: numbers of messages and bytes; ages and leases in seconds."""
    found = {
        "place": place,
        "messages": messages_of(survey),
        "bytes": sum(each.size for each in survey),
        "oldest_age": _oldest_age(survey),
        "writers": [
            {
                "writer": each.writer,
                "is_ours": each.is_ours if has_key else None,
                "messages": each.messages,
                "bytes": each.size,
                "oldest_age": _oldest_age([each]),
                "lease": each.lease,
            }
            for each in survey
        ],
    }
    return json.dumps(found, indent=2)


def as_text(place: str, survey: Sequence[Waiting], has_key: bool) -> str:
    """The same, for people."""
    if not survey:
        return f"{place}: nothing waits"
    size = sum(each.size for each in survey)
    age = _oldest_age(survey)
    held = in_use(survey)
    lines = [
        f"{place}: {messages_of(survey):,} message(s) wait",
        f"  size      {size:,} bytes",
        f"  oldest    {'of unknown age' if age is None else duration(age) + ' old'}",
        f"  writers   {len(survey)}: {len(held)} held by a running process, "
        f"{len(survey) - len(held)} to be sent by whoever comes by",
    ]
    others = [each for each in survey if not each.is_ours]
    if has_key and others:
        lines.append(f"  of these, {messages_of(others):,} are for other write keys")
    return "\n".join(lines)


def messages_of(survey: Sequence[Waiting]) -> int:
    """How many messages these writers have."""
    return sum(each.messages for each in survey)


def in_use(survey: Sequence[Waiting]) -> list[Waiting]:
    """The writers whose lease lives."""
    return [each for each in survey if each.lease > 0]


def duration(seconds: float) -> str:
    """In its two largest units: `3 h 12 min`."""
    left = round(seconds)
    parts: list[str] = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        amount, left = divmod(left, size)
        if amount or (name == "s" and not parts):
            parts.append(f"{amount} {name}")
    return " ".join(parts[:2])


def _oldest_age(survey: Sequence[Waiting]) -> float | None:
    """Seconds since the earliest of the errors; `None` where there is none, or it has no time."""
    now = datetime.now(timezone.utc)
    ages = [(now - time).total_seconds() for each in survey if (time := _time(each.oldest))]
    return max(0.0, *ages) if ages else None


def _time(body: bytes) -> datetime | None:
    try:
        message: Any = json.loads(body)
        # Before Python 3.11 it does not know the "Z".
        time = datetime.fromisoformat(message["timestamp"].replace("Z", "+00:00"))
    except (ValueError, KeyError, TypeError, AttributeError):  # `before_track` may set any
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=timezone.utc)
