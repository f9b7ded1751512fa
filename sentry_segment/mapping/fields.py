"""The fields of a message. To add, move or rename one is to change the table at the end, alone.

Each has its value found while the event is captured, and is normalised later as Relay does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from sentry_segment._version import __version__
from sentry_segment.mapping import relay, relay_request, relay_time, relay_url, scrub
from sentry_segment.mapping.table import Captured, Constant, Copy, Field, RequestField, Table


class _Who(TypedDict, total=False):
    userId: str
    anonymousId: str


class TrackMessage(_Who):
    """A Segment [track call](https://segment.com/docs/connections/spec/track/).

    It has a `userId`, or with the option `anonymous` an `anonymousId`, or both. `properties` holds
    `eventId`, `transaction`, `release`, `level`, `environment`, `exceptionType` and, with the
    option `sentry_url`, `sentryUrl`, all texts. `context` holds `library` and, where the event has
    them, `ip`, `userAgent` and `page` (with `url`, `method`, `search` and `referrer`).
    """

    type: str
    messageId: str
    event: str
    timestamp: str
    properties: dict[str, Any]
    context: dict[str, Any]
    integration: dict[str, Any]


# How values are found that need more than a key. It runs within the application's request: so the
# usual case is written out here, in half of the time that `relay` takes for all (`scripts/bench
# calling_thread`).


def _in_headers(name: str) -> Callable[[Captured], object]:
    small, odd = name.lower(), relay_request.odd_spellings(name)

    def find(captured: Captured) -> object:
        headers = captured.request.get("headers")
        # To look for the odd spellings takes a quarter of the time that bringing each header's
        # name into lower case does.
        if type(headers) is dict and odd.isdisjoint(headers):
            # Relay reads a mapping sorted by its keys: the small letters come last.
            return headers.get(small, headers.get(name, ""))
        return relay_request.last_header(headers, small)

    return find


def _environment(captured: Captured) -> str:
    get = captured.event.get
    environment = get("environment")
    if (
        type(environment) is str
        and 0 < len(environment) <= relay.MAX_ENVIRONMENT
        and relay.is_environment(environment)
    ):
        return environment
    return relay.environment(environment, get("tags"))


def _exception_type(captured: Captured) -> str:
    exception = captured.exception
    given = exception.get("type") if type(exception) is dict else None
    return given if given and type(given) is str else relay.exception_type(exception)


def _remote_address(captured: Captured) -> object:
    env = captured.request.get("env")
    if not isinstance(env, dict) or relay.infer_ip(captured.event) == "never":
        return ""
    return env.get("REMOTE_ADDR", "")


def _query(captured: Captured) -> object:
    query_string = captured.request.get("query_string")
    if type(query_string) is str or isinstance(query_string, (str, dict, list)):
        return query_string
    return relay_request.query_of_url(captured.request.get("url"))


def _sentry_url(captured: Captured) -> str:
    link = captured.sentry_link
    return link and link + relay.event_id(captured.event.get("event_id"))


def _if_any(text: str) -> str | None:
    """The rule for what is sent as it is, where there is any."""
    return text or None


def _as_found(text: str) -> str:
    """The rule for what is a text in any case, and sent as it is."""
    return text


FIELDS = Table(
    [
        Constant("type", "track"),
        Field("messageId", "event_id", relay.event_id, is_id=True),
        Field("userId", ".user_id", _if_any, is_id=True),
        Field("anonymousId", ".anonymous_id", _if_any, is_id=True, is_short=True),
        Field("event", ".event_name", _as_found, is_short=True),
        Field("timestamp", "timestamp", relay_time.timestamp, is_short=True),
        Copy("properties.eventId", of="messageId"),
        Field("properties.transaction", "transaction", relay.transaction),
        Field("properties.release", "release", relay.release),
        Field("properties.level", "level", relay.level),
        Field("properties.environment", _environment, _as_found),
        Field("properties.exceptionType", _exception_type, _as_found),
        Field("properties.sentryUrl", _sentry_url, _if_any, is_id=True, is_short=True),
        Constant("context.library.name", "sentry"),
        Constant("context.library.version", __version__),
        Field("context.ip", "user.ip_address", relay.ip_address, is_short=True),
        RequestField("context.ip", _remote_address, relay.ip_address, is_short=True),
        RequestField("context.userAgent", _in_headers("User-Agent"), relay_request.header),
        RequestField("context.page.url", "request.url", relay_url.url, scrub.url),
        RequestField("context.page.method", "request.method", relay_request.method),
        RequestField("context.page.search", _query, relay_request.query, scrub.query),
        RequestField(
            "context.page.referrer", _in_headers("Referer"), relay_request.header, scrub.referrer
        ),
        Constant("integration.name", "sentry"),
        Constant("integration.version", __version__),
    ],
    scrub.is_suspicious,
)
"""In the order in which a message has them."""
