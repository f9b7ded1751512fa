"""The jobs, and what their worker starts with: arq arq_redis.tasks.Worker"""

from __future__ import annotations

import os
from typing import Any

import sentry_sdk
from arq.connections import RedisSettings
from sentry_sdk.integrations.arq import ArqIntegration

from sentry_segment import SegmentIntegration

sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
    release="shop@1.4.2",
    integrations=[
        ArqIntegration(),
        SegmentIntegration(spool=os.environ.get("SEGMENT_SPOOL")),
    ],
)

PRICES = {"cup": 8, "teapot": 40}


async def charge(job: dict[str, Any], article: str, user_id: str | None = None) -> int:
    """Fails where there is no such article."""
    tell_sentry_the_user(user_id)
    return PRICES[article]


async def recommend(job: dict[str, Any], article: str, user_id: str | None = None) -> list[str]:
    """Can do without the article, but somebody should know."""
    tell_sentry_the_user(user_id)
    try:
        limit = PRICES[article]
    except KeyError as error:
        sentry_sdk.capture_exception(error)
        return []
    return [name for name, price in PRICES.items() if price <= limit]


def tell_sentry_the_user(user_id: str | None) -> None:
    # In the scope that Sentry's SDK opens for each job.
    if user_id:
        sentry_sdk.set_user({"id": user_id})


class Worker:
    functions = (charge, recommend)
    job_completion_wait = 10  # seconds that TERM leaves to the jobs, before it cancels them
    redis_settings = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
