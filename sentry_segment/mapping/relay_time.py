"""How Relay reads an event's timestamp."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from sentry_segment.mapping.relay import exact

_UTC_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_ISO_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


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
