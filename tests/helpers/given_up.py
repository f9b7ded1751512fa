"""A Segment that fails, and who is told of what was given up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from collector import Collector
from sentry_segment import SegmentIntegration, TrackMessage

T = TypeVar("T")

TIMEOUT = 0.6  # for faults that last until the client has had enough


class GivenUp(list[tuple[Exception, list[str], str]]):
    """An `on_error` that notes what it is told: the error, the messageIds, and in which thread."""

    def __call__(self, error: Exception, messages: list[TrackMessage]) -> None:
        ids = [message["messageId"] for message in messages]
        self.append((error, ids, threading.current_thread().name))


Mirror = Callable[..., SegmentIntegration]


def ids(collector: Collector) -> list[str]:
    """The messages that were accepted."""
    return [message["messageId"] for message in collector.messages]


def has_events(sentry: Collector, events: int) -> bool:
    """Whether Sentry gets so many."""
    return sentry.wait_for(lambda: len(sentry.events) == events)


def in_time(function: Callable[..., T], timeout: float) -> T:
    """The result of a call with this timeout, which is not to take much longer than that."""
    result: Future[T] = Future()
    threading.Thread(
        target=lambda: result.set_result(function(timeout=timeout)), daemon=True
    ).start()
    return result.result(timeout + 5.0)
