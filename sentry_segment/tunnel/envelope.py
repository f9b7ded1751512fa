"""Sentry's envelopes: a header, and items with a header each.

https://develop.sentry.dev/sdk/foundations/transport/envelopes/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

_BLANK = re.compile(rb"\s*")


class EnvelopeError(ValueError):
    """Bytes that are no envelope. The text says why."""


def header_and_items(
    envelope: bytes, parse: Callable[[bytes], Any] = json.loads
) -> tuple[dict[str, Any], Iterator[tuple[str, bytes]]]:
    """The header, and type and payload of each item, as they are asked for.

    Both raise `EnvelopeError`, and what `parse` raises for what is no JSON.
    """
    line, rest = _line(envelope, 0)
    header = parse(line)
    if not isinstance(header, dict):
        raise EnvelopeError("it has no header")
    return header, _items(envelope, rest, parse)


def _items(
    envelope: bytes, position: int, parse: Callable[[bytes], Any]
) -> Iterator[tuple[str, bytes]]:
    while position < len(envelope):
        position = _BLANK.match(envelope, position).end()  # type: ignore[union-attr]
        if position == len(envelope):
            return  # an empty line may end it
        line, position = _line(envelope, position)
        header = parse(line)
        kind = header.get("type") if isinstance(header, dict) else None
        if not isinstance(kind, str):
            raise EnvelopeError("an item in it has no type")
        length = header.get("length")
        if length is None:
            payload, position = _line(envelope, position)
        else:
            payload, position = _payload(envelope, position, length)
        yield kind, payload


def _payload(envelope: bytes, position: int, length: Any) -> tuple[bytes, int]:
    if type(length) is not int or length < 0:
        raise EnvelopeError("the length of an item in it is no number")
    end = position + length
    if end > len(envelope):
        raise EnvelopeError("it is shorter than the length of an item in it")
    behind, after = _line(envelope, end)
    if behind.strip():
        raise EnvelopeError("an item in it is longer than its length")
    return envelope[position:end], after


def _line(envelope: bytes, position: int) -> tuple[bytes, int]:
    """The line that begins there, and where the next one does."""
    end = envelope.find(b"\n", position)
    return (envelope[position:], len(envelope)) if end < 0 else (envelope[position:end], end + 1)
