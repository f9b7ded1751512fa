"""The bodies of the requests that carry messages, within Segment's limits of a batch
(https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/)."""

from __future__ import annotations

import json
from collections.abc import Sequence

MAX_BATCH_BYTES = 500_000
MAX_BATCH_MESSAGES = 2_500

# Room in a request's body for what is around the messages: the brackets, `sentAt`, and the write
# key, where it is there. Segment's have 32 characters.
_ENVELOPE_BYTES = 150


def fits(messages: int, size: int) -> bool:
    """Whether a batch of so many messages, with so many bytes in all, is within the limits."""
    # A comma stands between any two.
    return messages <= MAX_BATCH_MESSAGES and size + messages + _ENVELOPE_BYTES <= MAX_BATCH_BYTES


def track_body(message: bytes, sent_at: str, write_key: str | None = None) -> bytes:
    """The body of `POST /v1/track`: the message itself, with `sentAt`, and maybe `writeKey`."""
    return message[:-1] + b"," + _envelope(sent_at, write_key)


def batch_body(messages: Sequence[bytes], sent_at: str, write_key: str | None = None) -> bytes:
    """The body of `POST /v1/batch`."""
    return b'{"batch":[%s],' % b",".join(messages) + _envelope(sent_at, write_key)


def _envelope(sent_at: str, write_key: str | None) -> bytes:
    key = b"" if write_key is None else b',"writeKey":' + json.dumps(write_key).encode()
    return b'"sentAt":"%s"%s}' % (sent_at.encode(), key)
