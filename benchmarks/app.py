"""A small application's error, captured as a whole: some frames deep, with locals to be shown."""

from __future__ import annotations

from typing import Any

import sentry_sdk


def describe_user() -> None:
    """What an application says of a request before anything goes wrong."""
    sentry_sdk.set_user({"id": "1906", "ip_address": "198.51.100.6"})
    sentry_sdk.set_tag("tenant", "north")
    for number in range(10):
        sentry_sdk.add_breadcrumb(category="query", message=f"SELECT {number}", level="info")


def fail_and_capture() -> str | None:
    try:
        _checkout({"user": "1906", "articles": [4, 8, 15, 16, 23]})
    except LookupError as error:
        return sentry_sdk.capture_exception(error)
    return None


def _checkout(basket: dict[str, Any]) -> int:
    total = 0
    for article in basket["articles"]:
        total += _price(article, {"currency": "EUR", "express": True})
    return total


def _price(article: int, options: dict[str, Any]) -> int:
    known = {4: 120, 8: 90}
    rate = 2 if options["express"] else 1
    return rate * _look_up(known, article)


def _look_up(known: dict[int, int], article: int) -> int:
    message = f"no price for article {article}"
    if article not in known:
        raise KeyError(message)
    return known[article]
