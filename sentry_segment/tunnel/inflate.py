"""Bodies without their Content-Encoding, of a bounded size: no bomb goes off."""

from __future__ import annotations

import zlib

# zlib's own numbers for the formats: gzip, and either of the two that are called "deflate".
_WINDOW_BITS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}

_STEP = 64  # bytes of Brotli at once, where it has no bound


class BodyError(ValueError):
    """A body that can't be read; `status` is the answer to it."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def too_long(most: int) -> BodyError:
    """What is raised for a body that is read no further."""
    bound = f"{most // 1_000_000} MB" if most >= 1_000_000 else f"{most:,} bytes"
    return BodyError(f"it has more than {bound}", 413)


def inflate(body: bytes, encoding: str, most: int, *, from_anybody: bool = True) -> bytes:
    """The body without this Content-Encoding, of `most` bytes at the most. Raises `BodyError`.

    A body in Brotli that comes `from_anybody` is read by a module that has a bound alone.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding == "br":
        return _unbrotli(body, most, from_anybody)
    if encoding not in _WINDOW_BITS:
        raise BodyError(f"its Content-Encoding is {encoding}", 415)
    for bits in _WINDOW_BITS[encoding]:
        whole = _inflate(body, bits, most)
        if whole is not None:
            return whole
    raise BodyError(f"it is not compressed with {encoding}, as its Content-Encoding says")


def _inflate(body: bytes, bits: int, most: int) -> bytes | None:
    stream = zlib.decompressobj(bits)
    try:
        whole = stream.decompress(body, most + 1)
    except zlib.error:
        return None
    if len(whole) > most:
        raise too_long(most)
    return whole if stream.eof else None


def _unbrotli(body: bytes, most: int, from_anybody: bool) -> bytes:
    # Sentry's SDK compresses so by itself, in environments that have the module.
    try:
        import brotli
    except ImportError:
        raise BodyError("it is compressed with Brotli: `pip install brotli` here", 415) from None
    stream = brotli.Decompressor()
    has_bound = hasattr(stream, "can_accept_more_data")  # from 1.2 on
    if from_anybody and not has_bound:
        # Some 60 bytes may make 100 megabytes.
        raise BodyError("it is compressed with Brotli: `pip install 'brotli>=1.2'` here", 415)
    step = max(len(body), 1) if has_bound else _STEP
    whole, position = bytearray(), 0
    try:
        while not stream.is_finished():
            some = body[position : position + step]
            position += step
            bound = {"output_buffer_limit": most + 1 - len(whole)} if has_bound else {}
            part = stream.process(some, **bound)
            whole += part
            if len(whole) > most:
                raise too_long(most)
            if not part and not some:
                raise BodyError("it is compressed with Brotli, and cut off")
    except brotli.error:
        raise BodyError("it is not compressed with Brotli, as its Content-Encoding says") from None
    return bytes(whole)
