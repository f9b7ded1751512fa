"""Time of the calling thread alone, and the places of the SDK that decide what is called in it."""

from __future__ import annotations

import gc
import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sentry_sdk

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


@contextmanager
def active(client: Any, attaching: bool = True) -> Iterator[None]:
    """Sentry's global client, and whether events come to it by way of the integration's wrapper."""
    sentry_sdk.get_global_scope().set_client(client)
    wrapper = sentry_sdk.Client.capture_event
    if attaching:
        yield
        return
    sentry_sdk.Client.capture_event = inspect.unwrap(wrapper)  # type: ignore[method-assign]
    try:
        yield
    finally:
        sentry_sdk.Client.capture_event = wrapper  # type: ignore[method-assign]


def discard(client: Any, event: Any, hint: Any = None, scope: Any = None) -> None:
    """In the place of the method that the integration puts its wrapper around."""


def wrapper() -> Callable[..., Any]:
    """That wrapper, which is called with each event, around `discard`."""
    from sentry_segment.sdk.attach import attaching

    return attaching(discard)
