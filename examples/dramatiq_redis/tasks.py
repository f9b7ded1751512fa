"""The tasks, and what their workers start with: dramatiq dramatiq_redis.tasks"""

from __future__ import annotations

import os

import dramatiq
import sentry_sdk
from dramatiq.brokers.redis import RedisBroker
from sentry_sdk.integrations.dramatiq import DramatiqIntegration

from sentry_segment import SegmentIntegration

sentry_sdk.init(  # before the broker is made; the DSN is taken from SENTRY_DSN
    release="shop@1.4.2",
    integrations=[
        DramatiqIntegration(),
        SegmentIntegration(spool=os.environ.get("SEGMENT_SPOOL")),
    ],
)
dramatiq.set_broker(RedisBroker(url=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")))

PRICES = {"cup": 8, "teapot": 40}


@dramatiq.actor(max_retries=0)
def charge(article: str, user_id: str | None = None) -> None:
    """Fails where there is no such article."""
    tell_sentry_the_user(user_id)
    print(f"{user_id}: {PRICES[article]}", flush=True)


@dramatiq.actor(max_retries=0)
def recommend(article: str, user_id: str | None = None) -> None:
    """Can do without the article, but somebody should know."""
    tell_sentry_the_user(user_id)
    try:
        print(f"{user_id}: up to {PRICES[article]}", flush=True)
    except KeyError as error:
        sentry_sdk.capture_exception(error)


def tell_sentry_the_user(user_id: str | None) -> None:
    # In the scope that Sentry's SDK opens for each message.
    if user_id:
        sentry_sdk.set_user({"id": user_id})
