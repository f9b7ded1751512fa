"""Bodies of requests: decompressed within a bound, and read as JSON."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from sentry_segment.tunnel import inflate
from sentry_segment.tunnel.inflate import BodyError as BodyError

MAX_BODY_BYTES = 20_000_000
MAX_DEPTH = 100
_TOO_DEEP = "it is nested too deeply"


def too_long(most: int = MAX_BODY_BYTES) -> BodyError:
    """What is raised for a body that is read no further."""
    return inflate.too_long(most)


def decompress(body: bytes | BodyError, encoding: str) -> bytes:
    """The body without its Content-Encoding. Raises `BodyError`, also one given as the body."""
    if isinstance(body, BodyError):
        raise body
    return inflate.inflate(body, encoding, MAX_BODY_BYTES, from_anybody=False)


def parse(body: bytes) -> Any:
    """The JSON in it. Raises `ValueError` for what is none, NaN and the like included.

    Nested too deeply is none either, nor a number beyond all others: whatever this returns, `dump`
    can write, and the page can show.
    """
    try:
        content = json.loads(body, parse_constant=_refuse)
    except RecursionError:  # at a depth that differs from one Python to the next
        raise ValueError(_TOO_DEEP) from None
    if _is_deeper(content, MAX_DEPTH):
        raise ValueError(_TOO_DEEP)
    dump(content)
    return content


def _is_deeper(content: Any, depth: int) -> bool:
    level = [content]
    while level and depth:
        level = [
            part
            for value in level
            if isinstance(value, (dict, list))
            for part in (value.values() if isinstance(value, dict) else value)
        ]
        depth -= 1
    return any(isinstance(value, (dict, list)) for value in level)


def dump(content: Any) -> str:
    """Something that was parsed, as text again."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
