"""A clock that the tests advance, and workers that end with their test."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from collector import Collector
from given_up import GivenUp
from sentry_segment import SegmentIntegration
from sentry_segment.delivery.worker import Worker
from support import Init
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


@pytest.fixture
def given_up() -> GivenUp:
    return GivenUp()


@pytest.fixture
def mirror(
    segment: Collector, init: Init, given_up: GivenUp, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., SegmentIntegration]]:
    """`mirror(**options)`: the SDK, with Segment on a port of its own and short backoffs."""
    monkeypatch.setattr(random, "random", lambda: 0.0005)
    yield lambda **options: init(
        max_value_length=100_000,  # older SDKs cut texts to 1,024
        segment={"host": segment.url, "on_error": given_up, **options},
    )
    segment.answer = None
