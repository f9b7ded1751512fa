"""A worker's messages, put and settled."""

from __future__ import annotations

from sentry_segment import TrackMessage
from sentry_segment.delivery.worker import Worker


def deliver(worker: Worker, *messages: TrackMessage) -> None:
    """Put, and wait until all is settled."""
    for each in messages:
        worker.put(each)
    finish(worker)


def finish(worker: Worker) -> None:
    flush = worker.begin_flush(1_000_000.0)
    if flush is not None:
        assert flush.done.result(30.0)
