"""Messages as JSON within Segment's limit of one
(https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any

from sentry_segment.guest.log import describe
from sentry_segment.mapping import fields
from sentry_segment.mapping.message import (
    NO_FURTHER,
    Draft,
    Secrets,
    TrackMessage,
    compose,
    parts_of,
    texts,
)
from sentry_segment.mapping.table import Table

MAX_MESSAGE_BYTES = 32_000  # "32 KB": the smaller reading is safe under both
_SHORTEST_CUT = 64  # characters; dates, levels and the like are never cut


class EncodingError(ValueError):
    """A message that has no JSON form, or none within the limits."""


class MessageTooLongError(EncodingError):
    """A message over the limit of one message even with its texts cut."""


def encode(message: Draft | TrackMessage, secrets: Secrets = NO_FURTHER) -> bytes:
    """One message as JSON in UTF-8, at most 32 KB: the longest texts are cut where it is more.

    A draft is scrubbed, `secrets` being names that are filtered besides; what is a message already
    was so when it was made.

    Raises `EncodingError` where that can't be done: something in the message has no JSON form
    (which only `before_track` can have put there), or it is too long without any long text.
    """
    try:
        if isinstance(message, str):
            made_of = texts(parts_of(message), secrets)
            body = _fill_in(made_of)
            if len(body) > MAX_MESSAGE_BYTES:
                body = _dump_cut(compose(made_of), len(body))
            return body
        body = _dump(message)
        if body == b"{}":
            raise EncodingError("the message is empty")
        return body if len(body) <= MAX_MESSAGE_BYTES else _dump_cut(message, len(body))
    except EncodingError:
        raise
    except Exception as error:  # whatever objects of the application's raise
        raise EncodingError(f"the message has no JSON form: {describe(error)}") from error


def shorten(message: TrackMessage) -> TrackMessage:
    """Cut the longest texts of a very long message roughly, so that it does not wait at length.

    What is left is about as many characters as a message may have bytes; `encode` does the rest.
    """
    long = sum(len(text) > MAX_MESSAGE_BYTES // 16 for text in _texts(message))
    cut: TrackMessage = _cut(message, MAX_MESSAGE_BYTES // max(long, 1))
    return cut


def _fill_in(texts: list[str | None]) -> bytes:
    """As `_dump(compose(texts))`, in a fifth of the time."""
    template, pick = _template(fields.FIELDS, tuple([text is not None for text in texts]))
    present = pick(texts)
    # Of the texts, not of the draft: IDNA makes a quotation mark of one of full width.
    if _needs_escapes("".join(present)):
        present = [encode_basestring(text)[1:-1] for text in present]
    pieces = template.copy()
    pieces[1::2] = present
    return "".join(pieces).encode("utf-8", "replace")


_ESCAPED = b'"\\' + bytes(range(0x20))


def _needs_escapes(text: str) -> bool:
    """Whether JSON escapes something in it (https://www.rfc-editor.org/rfc/rfc8259#section-7)."""
    utf8 = text.encode("utf-8", "replace")
    return len(utf8.translate(None, _ESCAPED)) < len(utf8)


@lru_cache
def _template(table: Table, present: tuple[bool, ...]) -> tuple[list[str], Callable[[Any], Any]]:
    """A message that has these of the texts, in JSON, in pieces: every second one is the place of
    a text. And what picks the texts for these places."""
    numbers = [f"%{number}%" if is_there else None for number, is_there in enumerate(present)]
    pieces = re.split("%([0-9]+)%", _dump(table.compose(numbers)).decode())
    return pieces, itemgetter(*map(int, pieces[1::2]))


def _dump(message: Any) -> bytes:
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Lone surrogates have no UTF-8 form; like Relay's own binding, put "?" in their place.
    return text.encode("utf-8", "replace")


def _dump_cut(message: TrackMessage, size: int) -> bytes:
    """The message with all texts cut to the greatest length with which it fits."""
    fitting, too_long = _SHORTEST_CUT, max(map(len, _texts(message)), default=0)
    body = _dump(_cut(message, fitting))
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageTooLongError(
            f"the message has {size} bytes, over Segment's limit of {MAX_MESSAGE_BYTES}"
        )
    while too_long - fitting > 1:
        length = (fitting + too_long) // 2
        candidate = _dump(_cut(message, length))
        if len(candidate) <= MAX_MESSAGE_BYTES:
            fitting, body = length, candidate
        else:
            too_long = length
    return body


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _cut(value: Any, length: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= length else value[: length - 3] + "..."
    if isinstance(value, dict):
        return {
            key: part if key in fields.FIELDS.ids else _cut(part, length)
            for key, part in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_cut(part, length) for part in value]
    return value
