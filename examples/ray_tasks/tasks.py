"""The tasks, and what each worker of Ray begins with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import sentry_sdk
from sentry_sdk.integrations.ray import RayIntegration

from sentry_segment import SegmentIntegration

PRICES = {"cup": 8, "teapot": 40}


def watch() -> None:
    """Once in a process: in the driver, and in each worker of Ray, which is one of its own."""
    if not sentry_sdk.is_initialized():
        sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
            release="shop@1.4.2",
            integrations=[
                RayIntegration(),
                SegmentIntegration(spool=os.environ.get("SEGMENT_SPOOL")),
            ],
        )


watch()  # before the tasks are defined, or Sentry's integration does not see them


@contextmanager
def task_of(user_id: str | None) -> Iterator[None]:
    """A scope for one task, and what it raises captured in it and delivered.

    Sentry's integration opens none, and Ray kills its workers: nothing would wait at their end.
    """
    with sentry_sdk.isolation_scope() as scope:
        if user_id:
            scope.set_user({"id": user_id})
        try:
            yield
        except Exception as error:
            sentry_sdk.capture_exception(error)
            sentry_sdk.flush(timeout=5)  # so long at the most, whatever Sentry and Segment do
            raise


@ray.remote
def charge(article: str, user_id: str | None = None) -> int:
    """Fails where there is no such article."""
    with task_of(user_id):
        return PRICES[article]


@ray.remote
def recommend(article: str, user_id: str | None = None) -> list[str]:
    """Fails in the same way."""
    with task_of(user_id):
        limit = PRICES[article]
        return [name for name, price in PRICES.items() if price <= limit]
