"""Time that passes only when somebody waits for it."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue

from collector import Collector
from sentry_segment.delivery.worker import Worker
from sentry_segment.guest.clock import Clock
from sentry_segment.guest.log import ProblemLog
from sentry_segment.mapping.message import TrackMessage
from sentry_segment.options import Options
from sentry_segment.spool.sqlite import SqliteSpool
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions
from support import WRITE_KEY, message_for


class VirtualClock:
    """A clock for a worker: a wait of so many seconds is over at once, and is noted."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.waits: list[float] = []
        self.asked = 0
        """How often somebody began to wait."""
        self.is_held = threading.Event()
        """Set while a wait with an end is real."""
        self.limit = 1_000_000.0
        """The time at which waits become real, so that a test can look at a wait under way."""

    def now(self) -> float:
        return self.time

    def wait(self, wake: SimpleQueue[None], seconds: float | None) -> None:
        self.asked += 1
        if seconds is None or self.time + seconds > self.limit:
            if seconds is not None:
                self.is_held.set()
            wake.get()
            self.is_held.clear()
            return
        try:
            wake.get_nowait()
        except Empty:
            self.time += seconds
            self.waits.append(seconds)


def options(collector: Collector, **given: object) -> Options:
    defaults: dict[str, object] = {
        "write_key": WRITE_KEY,
        "host": collector.url,
        "event_name": "Error Captured",
        "before_track": None,
        "on_error": None,
        "max_queue_size": 10_000,
        "rate_limit": (1_000_000, 1.0),
        "timeout": 10.0,
        "gzip": False,
        "scrub": True,
        "spool": None,
        "spool_max_bytes": 100_000_000,
    }
    return Options(**{**defaults, **given})  # type: ignore[arg-type]


def unused_worker(collector: Collector, clock: Clock, **given: object) -> Worker:
    """A worker by this clock."""
    made = options(collector, **given)
    api, spool = SegmentApi(made, NetworkOptions()), None
    if made.spool is not None:
        spool = SqliteSpool(made.spool, made.spool_max_bytes, made.write_key)
    return Worker(made, api, spool, ProblemLog(), exit_timeout=2.0, clock=clock)


def worker(collector: Collector, clock: VirtualClock, **given: object) -> Worker:
    """A worker on virtual time, in use until it is released."""
    made = unused_worker(collector, clock, **given)
    made.open()
    return made


def message(user_id: str = "u1") -> TrackMessage:
    """A message of its own id."""
    made = message_for(
        {"exception": {"values": [{"type": "E"}]}, "user": {"id": user_id}}, "Error Captured"
    )
    assert made is not None
    return made
