"""Bodies of requests: decompressed within a bound, and read as JSON."""

from __future__ import annotations

import json
import zlib
from typing import Any, NoReturn

MAX_BODY_BYTES = 20_000_000
MAX_DEPTH = 100
_TOO_DEEP = "it is nested too deeply"

# zlib's own numbers for the formats: gzip, and either of the two that are called "deflate".
_WINDOW_BITS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


class BodyError(ValueError):
    """A body that can't be read; `status` is the answer to it."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def too_long(most: int = MAX_BODY_BYTES) -> BodyError:
    """What is raised for a body that is read no further."""
    return BodyError(f"it has more than {most // 1_000_000} MB", 413)


def decompress(body: bytes | BodyError, encoding: str) -> bytes:
    """The body without its Content-Encoding. Raises `BodyError`, also one given as the body."""
    if isinstance(body, BodyError):
        raise body
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding == "br":
        return _unbrotli(body)
    if encoding not in _WINDOW_BITS:
        raise BodyError(f"its Content-Encoding is {encoding}", 415)
    for bits in _WINDOW_BITS[encoding]:
        whole = _inflate(body, bits)
        if whole is not None:
            return whole
    raise BodyError(f"it is not compressed with {encoding}, as its Content-Encoding says")


def _inflate(body: bytes, bits: int) -> bytes | None:
    stream = zlib.decompressobj(bits)
    try:
        whole = stream.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        return None
    if len(whole) > MAX_BODY_BYTES:
        raise too_long()
    return whole if stream.eof else None


def _unbrotli(body: bytes) -> bytes:
    # Sentry's SDK compresses so by itself, in environments that have the module.
    try:
        import brotli
    except ImportError:
        raise BodyError("it is compressed with Brotli: `pip install brotli` here", 415) from None
    stream = brotli.Decompressor()
    whole = bytearray()
    try:
        for start in range(0, len(body), 64):  # in small steps: some of them make megabytes
            whole += stream.process(body[start : start + 64])
            if len(whole) > MAX_BODY_BYTES:
                raise too_long()
        if not stream.is_finished():
            raise BodyError("it is compressed with Brotli, and cut off")
    except brotli.error:
        raise BodyError("it is not compressed with Brotli, as its Content-Encoding says") from None
    return bytes(whole)


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
