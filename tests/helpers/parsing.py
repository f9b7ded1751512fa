"""What is in the bodies and headers that arrive at a collector."""

from __future__ import annotations

import base64
import binascii
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any


def items_in(envelope: bytes) -> Iterator[tuple[str, Any]]:
    # https://develop.sentry.dev/sdk/foundations/transport/envelopes/
    stream = io.BytesIO(envelope)
    stream.readline()
    while head := stream.readline().strip():
        header = json.loads(head)
        if "length" in header:
            payload = stream.read(header["length"])
            stream.readline()
        else:
            payload = stream.readline().rstrip(b"\n")
        content = parsed(payload)
        yield header["type"], payload if content is None else content


def parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def decompressed(body: bytes) -> bytes:
    try:
        return zlib.decompress(body, wbits=zlib.MAX_WBITS | 16)
    except zlib.error:
        return body


def write_key(authorization: str) -> str | None:
    scheme, _, credentials = authorization.partition(" ")
    try:
        user, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user if scheme.lower() == "basic" and colon and not password else None
