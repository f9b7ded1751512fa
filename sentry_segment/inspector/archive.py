"""What has arrived, as a file: exported, and read again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

from sentry_segment.inspector import objections, summary
from sentry_segment.inspector.bodies import BodyError, parse
from sentry_segment.inspector.objections import MAX_ID_LENGTH, Rank, Told
from sentry_segment.inspector.store import MAX_BYTES, MAX_RECORDS, Record
from sentry_segment.options import mask

MAX_FILE_BYTES = 2 * MAX_BYTES
FORMAT = "sentry-segment inspector 1"
_RANKS = ("drops", "changes", "advice")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


def pack(records: Iterable[Record]) -> Iterator[bytes]:
    """The records as JSON, piece by piece."""
    yield f'{{"format": "{FORMAT}", "records": ['.encode()
    between = b"\n"
    for record in records:
        yield between + to_json(record)
        between = b",\n"
    yield b"\n]}\n"


def to_json(record: Record) -> bytes:
    """A record with its payload."""
    text = f'{json.dumps(record.head())[:-1]}, "payload": {record.text}}}'
    # A lone surrogate becomes "\ud800", which is how JSON spells it.
    return text.encode("utf-8", "backslashreplace")


def unpack(body: bytes) -> list[Record]:
    """The records in a file, the last 10,000. Raises `BodyError` for what is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyError(f"it is no JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BodyError("it was not exported by an inspector of this version")
    records = content.get("records")
    if not isinstance(records, list):
        raise BodyError("it has no records")
    try:
        return [_record(each) for each in records[-MAX_RECORDS:]]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BodyError(f"a record in it is wrong: {error!r}") from None


def _record(found: dict[str, Any]) -> Record:
    payload = parse(json.dumps(found["payload"]).encode())
    side, path, key, record_id = found["side"], found["path"], found["write_key"], found["id"]
    if side not in ("segment", "sentry"):
        raise ValueError(f"side is {side!r}")
    arrived = str(found["arrived"])
    return Record(
        side=side,
        path=str(path)[:MAX_ID_LENGTH],
        status=int(found["status"]),
        bytes=int(found["bytes"]),
        id=None if record_id is None else str(record_id)[:MAX_ID_LENGTH],
        write_key=None if key is None else _masked(str(key)),
        objections=tuple(_told(each) for each in found["objections"]),
        summary=_summary(side, str(path), payload),
        text=json.dumps(payload, ensure_ascii=False, separators=(",", ":")),
        arrived=arrived if _DATE.fullmatch(arrived) else "",
    )


def _masked(key: str) -> str:
    """As it was exported; a key that somebody has put there is masked."""
    return key if key.startswith("…") and len(key) <= 5 else mask(key)


def _told(found: dict[str, Any]) -> Told:
    told = Told(found["text"])
    if found["rank"] not in _RANKS:
        raise ValueError(f"rank is {found['rank']!r}")
    told.rank = cast(Rank, found["rank"])
    return told


def _summary(side: str, path: str, payload: Any) -> summary.Summary:
    if payload is None:
        return {}
    if side == "sentry":
        return summary.of_event(payload) if isinstance(payload, dict) else {}
    kind = path.rpartition("/")[2]
    kind = objections.BROWSERS.get(kind, kind)
    return summary.of_message(payload, objections.kind_of(payload, kind))
