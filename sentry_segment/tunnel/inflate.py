"""Bodies without their Content-Encoding, of a bounded size: no bomb goes off."""

from __future__ import annotations

import zlib

# zlib's own numbers for the formats: gzip, and either of the two that are called "deflate".
_WINDOW_BITS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


class BodyError(ValueError):
    """A body that can't be read; `status` is the answer to it."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def too_long(most: int) -> BodyError:
    """What is raised for a body that is read no further."""
    bound = f"{most // 1_000_000} MB" if most >= 1_000_000 else f"{most:,} bytes"
    return BodyError(f"it has more than {bound}", 413)


def inflate(body: bytes, encoding: str, most: int) -> bytes:
    """The body without this Content-Encoding, of `most` bytes at the most. Raises `BodyError`."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding == "br":
        return _unbrotli(body, most)
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


def _unbrotli(body: bytes, most: int) -> bytes:
    # Sentry's SDK compresses so by itself, in environments that have the module.
    try:
        import brotli
    except ImportError:
        raise BodyError("it is compressed with Brotli: `pip install brotli` here", 415) from None
    stream = brotli.Decompressor()
    whole, rest = bytearray(), body
    try:
        while not stream.is_finished():
            part = stream.process(rest, output_buffer_limit=most + 1 - len(whole))
            whole += part
            if len(whole) > most:
                raise too_long(most)
            if not part and not rest:
                raise BodyError("it is compressed with Brotli, and cut off")
            rest = b""
    except TypeError:  # it has no such limit before 1.2, and some bytes make gigabytes
        why = "it is compressed with Brotli: `pip install 'brotli>=1.2'` here"
        raise BodyError(why, 415) from None
    except brotli.error:
        raise BodyError("it is not compressed with Brotli, as its Content-Encoding says") from None
    return bytes(whole)
