"""What the inspector reads of a request's body: compressed, broken, or larger than it takes."""

from __future__ import annotations

import gzip
import json
import sys
import tracemalloc
import zlib
from typing import Any

import pytest

from inspectors import NOW, Poster, envelope, event, message
from sentry_segment.inspector import bodies
from sentry_segment.inspector.server import Inspector
from sentry_segment.tunnel import inflate


def deflated(body: bytes) -> bytes:
    return zlib.compress(body)


def deflated_bare(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


COMPRESSED = [
    ("gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("deflate", deflated),
    ("deflate", deflated_bare),
    ("identity", bytes),
]


@pytest.mark.parametrize(("encoding", "compress"), COMPRESSED, ids=range(len(COMPRESSED)))
def test_compressed_bodies_are_read(
    inspector: Inspector, app: Poster, encoding: str, compress: Any
) -> None:
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    body = json.dumps(message(sentAt=NOW)).encode()
    assert app.segment(compress(body), headers=headers).is_success
    assert app.sentry(compress(envelope(event())), content_encoding=encoding).is_success
    assert [record.objections for record in inspector.store.records] == [(), ()]


@pytest.mark.parametrize(
    ("encoding", "body", "status", "why"),
    [
        ("gzip", b"plain", 400, "not compressed with gzip"),
        ("gzip", gzip.compress(b"{}")[:-9], 400, "not compressed with gzip"),
        ("deflate", b"plain", 400, "not compressed with deflate"),
        ("zstd", b"", 415, "Content-Encoding is zstd"),
        ("gzip", gzip.compress(bytes(bodies.MAX_BODY_BYTES + 1)), 413, "more than 20 MB"),
    ],
    ids=range(5),
)
def test_bodies_that_cant_be_read_are_refused_and_shown(
    inspector: Inspector, app: Poster, encoding: str, body: bytes, status: int, why: str
) -> None:
    assert app.segment(body, headers={"Content-Encoding": encoding}).status_code == status
    assert app.sentry(body, content_encoding=encoding).status_code == status
    for record in inspector.store.records:
        assert record.status == status
        assert why in record.objections[0]
        assert record.payload is None


def test_no_more_is_decompressed_than_is_read() -> None:
    """200 MB, in 200 kB."""
    compressor = zlib.compressobj(wbits=31)
    body = b"".join(compressor.compress(bytes(1_000_000)) for _ in range(200)) + compressor.flush()
    tracemalloc.start()
    with pytest.raises(bodies.BodyError):
        bodies.decompress(body, "gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000_000


def test_a_body_over_20_mb_is_read_no_further(inspector: Inspector, app: Poster) -> None:
    assert app.segment(bytes(bodies.MAX_BODY_BYTES + 1)).status_code == 413
    assert "20 MB" in inspector.store.records[0].objections[0]


class Brotli:
    """In the place of the module: each byte stands for as many zeros."""

    class error(Exception):  # noqa: N801, N818 - the module's own name
        pass

    class Decompressor:
        def __init__(self) -> None:
            self.last = 0

        def can_accept_more_data(self) -> bool:
            return True

        def process(self, data: bytes, output_buffer_limit: int = 20_000_001) -> bytes:
            if b"!" in data:
                raise Brotli.error
            if not data:
                return b""
            self.last = data[-1]
            return data if max(data) < 200 else bytes(output_buffer_limit)

        def is_finished(self) -> bool:
            return self.last == ord("}")


class OldBrotli(Brotli):
    """Which has no bound."""

    class Decompressor(Brotli.Decompressor):
        can_accept_more_data = property()


def test_brotli_is_read_where_the_module_is_there(
    inspector: Inspector, app: Poster, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Content-Encoding": "br"}
    monkeypatch.setitem(sys.modules, "brotli", None)
    assert app.segment(b"{}", headers=headers).status_code == 415
    monkeypatch.setitem(sys.modules, "brotli", Brotli)
    assert app.segment(b"{}", headers=headers).is_success
    assert app.segment(b"{!}", headers=headers).status_code == 400
    assert app.segment(b"{", headers=headers).status_code == 400
    assert app.segment(b"\xff", headers=headers).status_code == 413
    monkeypatch.setitem(sys.modules, "brotli", OldBrotli)
    assert app.segment(b"{}", headers=headers).is_success
    assert inflate.inflate(b"{}", "br", 9, from_anybody=False) == b"{}"
    with pytest.raises(bodies.BodyError, match=r"brotli>=1\.2"):
        inflate.inflate(b"{}", "br", 9)
