"""The jobs."""

from __future__ import annotations

import sentry_sdk

PRICES = {"cup": 8, "teapot": 40}


def charge(article: str, user_id: str | None = None) -> int:
    """Fails where there is no such article."""
    tell_sentry_the_user(user_id)
    return PRICES[article]


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
    # On the current scope, which Sentry's SDK opens for each job. sentry_sdk.set_user would set the
    # user of all later jobs too, where they share a process (SimpleWorker).
    if user_id:
        sentry_sdk.get_current_scope().set_user({"id": user_id})
