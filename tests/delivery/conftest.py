"""A clock that the tests advance, and workers that end with their test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector import Collector
from sentry_segment.delivery.worker import Worker
from virtual import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def started(collector: Collector, clock: VirtualClock) -> Iterator[list[Worker]]:
    """Workers of a test, released after it."""
    workers: list[Worker] = []
    yield workers
    collector.answer = None
    clock.limit = float("inf")
    for each in workers:
        each.finish_flush(each.begin_flush(5.0))
        each.release()
