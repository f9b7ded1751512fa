"""Segment's side: what becomes of a request to `/v1/track`, `/v1/batch` and the like."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sentry_segment.inspector import objections, summary
from sentry_segment.inspector.bodies import BodyError, decompress, dump, parse
from sentry_segment.inspector.objections import (
    BROWSERS,
    JSON_TYPE,
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    Objection,
    Told,
)
from sentry_segment.inspector.store import MAX_RECORDS, Record
from sentry_segment.options import mask

PATHS = frozenset({"batch", *objections.KINDS, *BROWSERS})
_KEY_FIELDS = ("writeKey", "write_key")


def take(
    path: str,
    headers: Mapping[str, str],
    body: bytes | BodyError,
    now: datetime,
    is_taken: Callable[[str], bool],
) -> tuple[int, list[Record]]:
    """The answer's status to a request to `/v1/{path}`, and the records of it.

    `is_taken` says whether a message with this id was taken before.
    """
    kind = BROWSERS.get(path, path)
    key = _key_in_header(headers.get("authorization", ""))
    size = 0 if isinstance(body, BodyError) else len(body)
    try:
        body = decompress(body, headers.get("content-encoding", ""))
        size = len(body)
        content = _parse(body)
        key = key or _key_in_body(content)
        messages = _messages(content, kind)
    except _RefusedError as error:
        status, objection = error.status, error.objection
    except BodyError as error:
        status, objection = error.status, Objection.UNREADABLE.text(error)
    else:
        return _take(path, headers, content, messages, size, key, now, is_taken)
    shown = None if key is None else mask(key)
    refused = Record("segment", f"/v1/{path}", status, size, None, shown, (objection,))
    return status, [refused]


class _RefusedError(Exception):
    """A request in which there is no message to be found."""

    status = 400

    def __init__(self, objection: Told) -> None:
        super().__init__(objection)
        self.objection = objection


def _parse(body: bytes) -> dict[str, Any]:
    try:
        content = parse(body)
    except ValueError as error:
        raise _RefusedError(Objection.NOT_JSON.text(error)) from None
    if not isinstance(content, dict):
        raise _RefusedError(Objection.NOT_JSON.text("it is another kind of value"))
    return content


def _messages(content: dict[str, Any], kind: str) -> list[Any]:
    if kind != "batch":
        return [content]
    batch = content.get("batch")
    if not isinstance(batch, list):
        # What Segment answers is not documented. Nothing in it could be a message.
        raise _RefusedError(Objection.NO_BATCH.text())
    return batch


def _take(
    path: str,
    headers: Mapping[str, str],
    content: dict[str, Any],
    messages: list[Any],
    size: int,
    key: str | None,
    now: datetime,
    is_taken: Callable[[str], bool],
) -> tuple[int, list[Record]]:
    kind = BROWSERS.get(path, path)
    found = _to_request(path, kind, headers, content, messages)
    # No more than is kept: a batch of 20 MB may have millions, which would hold up all others.
    messages = messages[:MAX_RECORDS]
    texts = [dump(_without_key(message)) for message in messages]
    # The size of a message within a batch is that of its shortest form.
    sizes = [len(text.encode("utf-8", "replace")) for text in texts] if kind == "batch" else [size]
    too_long = any(each > MAX_MESSAGE_BYTES for each in sizes)
    status = 400 if too_long else 200
    if size > MAX_REQUEST_BYTES:
        status = 400
        found.insert(0, Objection.REQUEST_TOO_LONG.text(f"{size:,}"))
    if key is None:
        status = 401
        found.insert(0, Objection.NO_WRITE_KEY.text())
    shown = None if key is None else mask(key)
    if not messages:
        return status, [Record("segment", f"/v1/{path}", status, size, None, shown, tuple(found))]
    request = _Request(path, kind, status, shown, found, too_long, content.get("sentAt"), now)
    records: list[Record] = []
    seen: set[object] = set()
    for message, text, each in zip(messages, texts, sizes, strict=True):
        message_id = _message_id(message)
        repeated = message_id is not None and (message_id in seen or is_taken(message_id))
        seen.add(message_id)
        records.append(request.record(message, text, each, repeated))
    return status, records


def _to_request(
    path: str, kind: str, headers: Mapping[str, str], content: dict[str, Any], messages: list[Any]
) -> list[Told]:
    # Segment's library for browsers sends text/plain, which pages may send with less ado.
    content_type = JSON_TYPE if path in BROWSERS else headers.get("content-type", "")
    found = list(objections.to_request(content_type, content))
    if kind == "batch":
        found += objections.to_batch(messages)
    return found


@dataclass(frozen=True)
class _Request:
    """What the records of one request have in common."""

    path: str
    kind: str
    """The path in full: "track" for "t"."""
    status: int
    write_key: str | None
    objections: list[Told]
    too_long: bool
    """One of the messages, at least."""
    sent_at: object
    now: datetime

    def record(self, message: Any, text: str, size: int, repeated: bool) -> Record:
        found = [*self.objections]
        if size > MAX_MESSAGE_BYTES:
            found.insert(0, Objection.MESSAGE_TOO_LONG.text(f"{size:,}"))
        elif self.too_long:
            found.insert(0, Objection.REFUSED_TOGETHER.text())
        found += objections.to_message(message, self.kind, self.sent_at, self.now, repeated)
        return Record(
            side="segment",
            path=f"/v1/{self.path}",
            status=self.status,
            bytes=size,
            id=_message_id(message),
            write_key=self.write_key,
            objections=tuple(found),
            summary=summary.of_message(message, objections.kind_of(message, self.kind)),
            text=text,
        )


def _message_id(message: Any) -> str | None:
    message_id = message.get("messageId") if isinstance(message, dict) else None
    if not isinstance(message_id, str) or not message_id:
        return None
    return message_id[: objections.MAX_ID_LENGTH]


def _key_in_header(authorization: str) -> str | None:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user if user and colon and not password else None


def _key_in_body(content: dict[str, Any]) -> str | None:
    key = content.get("writeKey")
    return key if isinstance(key, str) and key else None


def _without_key(message: Any) -> Any:
    """The message with the write key masked, where it is in it: it is not kept, nor shown."""
    if not isinstance(message, dict):
        return message
    masked = {name: mask(str(message[name])) for name in _KEY_FIELDS if name in message}
    return {**message, **masked}
