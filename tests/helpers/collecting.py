"""For the tests of `sentry_segment.testing`."""

from __future__ import annotations

import threading
from typing import Any

import sentry_sdk

from sentry_segment import SegmentIntegration, TrackMessage


def ids(messages: list[TrackMessage]) -> list[str]:
    return [message["messageId"] for message in messages]


def mirrors_threads() -> set[threading.Thread]:
    """Also those of earlier tests that have not quite ended."""
    return {each for each in threading.enumerate() if each.name.startswith("sentry-segment")}


def init_bare(**options: Any) -> SegmentIntegration:
    """As in many test settings: neither a DSN nor a write key."""
    integration = SegmentIntegration(**options)
    sentry_sdk.init(integrations=[integration])
    return integration
