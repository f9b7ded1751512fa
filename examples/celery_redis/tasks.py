"""The tasks. Celery's worker imports this module, and so does whatever orders them."""

from __future__ import annotations

import os
from typing import Any

import sentry_sdk
from celery import Celery
from celery.signals import task_prerun

from sentry_segment import SegmentIntegration

sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
    release="shop@1.4.2",
    integrations=[
        SegmentIntegration(
            spool=os.environ.get("SEGMENT_SPOOL"),
        )
    ],
)

app = Celery("shop", broker=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True

PRICES = {"cup": 8, "teapot": 40}


@task_prerun.connect
def tell_sentry_the_user(kwargs: dict[str, Any], **_: Any) -> None:
    """Before each task, within the scope that Sentry's SDK opens for it.

    It looks among the arguments given by name. So the tasks take no `user_id` in another way.
    """
    if kwargs.get("user_id"):
        sentry_sdk.set_user({"id": kwargs["user_id"]})


@app.task
def charge(article: str, *, user_id: str | None = None) -> int:
    """Fails where there is no such article."""
    return PRICES[article]


@app.task
def recommend(article: str, *, user_id: str | None = None) -> list[str]:
    """Can do without the article, but somebody should know."""
    try:
        limit = PRICES[article]
    except KeyError as error:
        sentry_sdk.capture_exception(error)
        return []
    return [name for name, price in PRICES.items() if price <= limit]
