"""Time of the calling thread alone, and the places of the SDK that decide what is called in it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sentry_sdk
from sentry_sdk.scope import global_event_processors

from benchmarks.subjects import Call


def timed(calls: Sequence[Call]) -> float:
    """Seconds of this thread's CPU for each of the calls."""
    began = time.thread_time()
    for call in calls:
        call()
    return (time.thread_time() - began) / len(calls)


@contextmanager
def frozen() -> Iterator[None]:
    """What was made for the calls is not gone through by the collections that fall into them."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def processor() -> Callable[[Any, Any], Any]:
    """The event processor that the integration adds, which is called with each event."""
    (found,) = (p for p in global_event_processors if p.__module__ == "sentry_segment.integration")
    return found


@contextmanager
def active(client: Any, without: Callable[[Any, Any], Any] | None = None) -> Iterator[None]:
    """Sentry's global client, and one event processor left out."""
    sentry_sdk.get_global_scope().set_client(client)
    if without is None:
        yield
        return
    global_event_processors.remove(without)
    try:
        yield
    finally:
        global_event_processors.append(without)
