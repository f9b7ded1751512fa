"""A message between the queue and its delivery."""

from __future__ import annotations

import json
from typing import NamedTuple

from sentry_segment.mapping.encoding import EncodingError
from sentry_segment.mapping.message import (
    NO_FURTHER,
    Draft,
    Secrets,
    TrackMessage,
    parts_of,
    track_message,
)
from sentry_segment.spool.contract import Row

Given = Draft | TrackMessage
"""A message as it is put."""


class Encoded(NamedTuple):
    """A message on its way, with its JSON, or why it has none."""

    body: bytes = b""
    given: Given | None = None
    """As it was put; `None` where it was read from the spool."""
    row: Row | None = None
    error: EncodingError | None = None
    is_own: bool = True
    """Whether it was put in this process, rather than taken over from another."""
    secrets: Secrets = NO_FURTHER
    """What is filtered in a draft besides."""

    @property
    def message(self) -> TrackMessage:
        if isinstance(self.given, dict):
            return self.given
        if self.given is not None and not self.body:
            return track_message(parts_of(self.given), self.secrets)
        message: TrackMessage = json.loads(self.body)
        return message
