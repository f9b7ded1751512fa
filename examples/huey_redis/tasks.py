"""The tasks, and what their consumer starts with: huey_consumer huey_redis.tasks.huey"""

from __future__ import annotations

import os

import sentry_sdk
from huey import RedisHuey
from sentry_sdk.integrations.huey import HueyIntegration

from sentry_segment import SegmentIntegration

sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
    release="shop@1.4.2",
    integrations=[
        HueyIntegration(),
        SegmentIntegration(spool=os.environ.get("SEGMENT_SPOOL")),
    ],
)
huey = RedisHuey("shop", url=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))

PRICES = {"cup": 8, "teapot": 40}


@huey.task()
def charge(article: str, user_id: str | None = None) -> int:
    """Fails where there is no such article."""
    tell_sentry_the_user(user_id)
    return PRICES[article]


@huey.task()
def recommend(article: str, user_id: str | None = None) -> list[str]:
    """Can do without the article, but somebody should know."""
    tell_sentry_the_user(user_id)
    try:
        limit = PRICES[article]
    except KeyError as error:
        sentry_sdk.capture_exception(error)
        return []
    return [name for name, price in PRICES.items() if price <= limit]


def tell_sentry_the_user(user_id: str | None) -> None:
    # In the scope that Sentry's SDK opens for each task.
    if user_id:
        sentry_sdk.set_user({"id": user_id})
