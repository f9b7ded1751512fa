"""Typical uses of the public surface, checked by `mypy --strict` alone; never run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sentry_sdk

from sentry_segment import DeliveryError, SegmentIntegration, Stats, TrackMessage, __version__


def before_track(message: TrackMessage, event: dict[str, Any]) -> TrackMessage | None:
    if message["userId"].startswith("test-") or event.get("level") == "warning":
        return None
    message["properties"]["plan"] = event["tags"]["plan"]
    message["context"].pop("ip", None)
    return message


def on_error(error: Exception, messages: list[TrackMessage]) -> None:
    status: int | None = error.status if isinstance(error, DeliveryError) else None
    ids: list[str] = [message["messageId"] for message in messages]
    print(status, ids)


def the_shortest() -> None:
    sentry_sdk.init(dsn="...", integrations=[SegmentIntegration()])
    sentry_sdk.init(dsn="...", integrations=[SegmentIntegration("a write key")])
    sentry_sdk.init(dsn="...", integrations=[SegmentIntegration(os.environ.get("KEY"))])


def all_options() -> SegmentIntegration:
    return SegmentIntegration(
        write_key="a write key",
        host="https://events.eu1.segmentapis.com",
        event_name="Backend Error",
        before_track=before_track,
        on_error=on_error,
        max_queue_size=1_000,
        rate_limit=(50, 0.5),
        timeout=5,
        gzip=True,
        spool=Path("/var/lib/shop/segment.db"),
        spool_max_bytes=10_000_000,
    )


def no_hooks() -> SegmentIntegration:
    return SegmentIntegration(before_track=None, on_error=None, timeout=2.5, rate_limit=(10, 1))


def lambdas() -> SegmentIntegration:
    return SegmentIntegration(
        before_track=lambda message, event: message if event.get("release") else None,
        on_error=lambda error, messages: print(error, len(messages)),
        spool="segment.db",
    )


def flush(integration: SegmentIntegration) -> bool:
    done: bool = integration.flush()
    return done and integration.flush(5) and integration.flush(timeout=0.5)


def stats(integration: SegmentIntegration) -> dict[str, int]:
    snapshot: Stats = integration.stats
    dropped: Mapping[str, int] = snapshot.dropped
    last_error: str | None = snapshot.last_error
    print(__version__.upper(), last_error)
    return {
        "mirrored": snapshot.mirrored,
        "queued": snapshot.queued,
        "spooled": snapshot.spooled,
        "recovered": snapshot.recovered,
        "delivered": snapshot.delivered,
        "retries": snapshot.retries,
        "dropped": sum(dropped.values()),
        "overflow": dropped["queue_overflow"],
    }
