"""Errors as Sentry's SDK hands them to its transport, and the finished fields that a peer is given.

Texts that are new for each error in reality (ids, times, who and where) are new objects here, and
the containers are too. What comes from code, such as the names in a stack trace, is shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from sentry_sdk.envelope import Envelope

RELEASE = "shop@1.4.2"
ENVIRONMENT = "production"
EVENT_NAME = "Error Captured"

_BEGIN = datetime(2026, 11, 23, 4, 35, 46, 632211, tzinfo=timezone.utc)
_PLACES = ("checkout", "basket.add", "account.orders", "search", "invoice.pdf")
_ERRORS = ("KeyError", "ValueError", "TimeoutError", "OperationalError", "PermissionDenied")
_METHODS = ("GET", "POST", "PUT")
_MODULES = {f"package-{n}": f"{n}.4.2" for n in range(40)}


@dataclass(frozen=True)
class Fields:
    """What the message for an error says, in the form in which a peer's `track()` takes it."""

    user_id: str
    properties: dict[str, Any]
    context: dict[str, Any]
    timestamp: datetime
    message_id: str


@dataclass(frozen=True)
class Sample:
    """One error, in Sentry's form and as a message's fields."""

    event: dict[str, Any]
    envelope: Envelope
    fields: Fields


def sample(number: int) -> Sample:
    """The error with this number: another user, place, address and time for each."""
    event = error(number)
    moment = _moment(number)
    request, properties = event["request"], {"eventId": event["event_id"]}
    properties.update(
        transaction=event["transaction"],
        release=event["release"],
        level=event["level"],
        environment=event["environment"],
        exceptionType=event["exception"]["values"][0]["type"],
    )
    context = {
        "ip": event["user"]["ip_address"],
        "userAgent": request["headers"]["User-Agent"],
        "page": {
            "url": request["url"],
            "method": request["method"],
            "search": request["query_string"],
            "referrer": request["headers"]["Referer"],
        },
    }
    fields = Fields(event["user"]["id"], properties, context, moment, event["event_id"])
    return Sample(event, enveloped(event), fields)


def error(number: int) -> dict[str, Any]:
    """An error of a known user, with a stack of 20 frames, breadcrumbs and a request."""
    place, kind = _PLACES[number % len(_PLACES)], _ERRORS[number % len(_ERRORS)]
    return {
        "event_id": uuid4().hex,
        "timestamp": stamp(number),
        "level": "error",
        "platform": "python",
        "exception": {
            "values": [
                {
                    "type": kind,
                    "value": f"article {number} of the basket",
                    "module": None,
                    "mechanism": {"type": "generic", "handled": True},
                    "stacktrace": {"frames": [_frame(n, number) for n in range(20)]},
                }
            ]
        },
        "breadcrumbs": {"values": [_breadcrumb(n, number) for n in range(15)]},
        "user": {
            "id": f"user-{number % 5000}",
            "ip_address": f"198.51.{number // 250 % 250}.{number % 250}",
            "email": f"user-{number % 5000}@shop.example",
        },
        "request": {
            "url": f"https://shop.example/{place}/{number}",
            "method": _METHODS[number % len(_METHODS)],
            "query_string": f"express={number % 2}&article={number}",
            "headers": {
                "Host": "shop.example",
                "User-Agent": f"Mozilla/5.0 (X11; Linux x86_64) Browser/{number % 90}.0",
                "Accept": "text/html,application/xhtml+xml",
                "Accept-Language": "en",
                "Accept-Encoding": "gzip, deflate, br",
                "Referer": f"https://shop.example/basket?from={number}",
                "Cookie": "[Filtered]",
                "X-Request-Id": f"request-{number}",
            },
            "env": {"SERVER_NAME": "shop", "SERVER_PORT": "443"},
        },
        "transaction": place,
        "transaction_info": {"source": "route"},
        "release": RELEASE,
        "environment": ENVIRONMENT,
        "server_name": "web-1",
        "contexts": {
            "trace": {"trace_id": uuid4().hex, "span_id": f"{number:016x}", "op": "http.server"},
            "runtime": {"name": "CPython", "version": "3.11.7"},
        },
        "tags": {"tenant": f"tenant-{number % 30}"},
        "extra": {"sys.argv": ["shop", "serve"]},
        "modules": _MODULES,
        "sdk": {"name": "sentry.python", "version": "2.75.0", "integrations": ["logging"]},
    }


def anonymous(number: int) -> dict[str, Any]:
    """An error of a user whom nobody knows: not to be mirrored."""
    event = error(number)
    del event["user"]["id"]
    return event


def transaction(number: int) -> dict[str, Any]:
    event = error(number)
    del event["exception"]
    return event | {"type": "transaction", "start_timestamp": stamp(number), "spans": []}


def enveloped(event: dict[str, Any]) -> Envelope:
    envelope = Envelope(headers={"event_id": event["event_id"], "sent_at": event["timestamp"]})
    if event.get("type") == "transaction":
        envelope.add_transaction(event)  # type: ignore[arg-type]  # whose type is the SDK's own
    else:
        envelope.add_event(event)  # type: ignore[arg-type]
    return envelope


def stamp(number: int) -> str:
    """The time of an error as the SDK writes it."""
    return _moment(number).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(number: int) -> datetime:
    return _BEGIN + timedelta(milliseconds=37 * number)


def _frame(depth: int, number: int) -> dict[str, Any]:
    return {
        "filename": "shop/checkout.py",
        "abs_path": "/srv/shop/shop/checkout.py",
        "function": "reserve",
        "module": "shop.checkout",
        "lineno": 40 + depth,
        "pre_context": ["def reserve(basket):", "    articles = {}", "    for each in basket:"],
        "context_line": "        articles[each.id] = stock[each.id]",
        "post_context": ["    return articles", "", ""],
        "in_app": True,
        "vars": {"basket": f"<Basket {number}>", "each": f"<Article {number + depth}>"},
    }


def _breadcrumb(position: int, number: int) -> dict[str, Any]:
    return {
        "type": "default",
        "category": "query",
        "level": "info",
        "message": f"SELECT * FROM article WHERE id = {number + position}",
        "timestamp": stamp(number),
        "data": {},
    }
