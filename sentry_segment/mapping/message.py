"""Sentry event -> Segment message, as Sentry's own server-side plugin does it. Pure functions.

In two steps, for the first is taken in the midst of the application's work: `parts` finds what a
message is made of. `texts` brings it into the form in which it is sent: later, and elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from sentry_segment._version import __version__
from sentry_segment.mapping import relay, relay_url


class TrackMessage(TypedDict):
    """A Segment [track call](https://segment.com/docs/connections/spec/track/).

    `properties` holds `eventId`, `transaction`, `release`, `level`, `environment` and
    `exceptionType`, all texts. `context` holds `library` and, where the event has them, `ip`,
    `userAgent` and `page` (with `url`, `method`, `search` and `referrer`).
    """

    type: str
    messageId: str
    userId: str
    event: str
    timestamp: str
    properties: dict[str, Any]
    context: dict[str, Any]
    integration: dict[str, Any]


Parts = Sequence[Any]
"""What a message is made of: the track call's name and, as found in the event, its id, the user's
id, the timestamp, transaction, release, level, environment, the exception's type and the user's IP
address; and, where there is a request, the client's IP address, User-Agent, URL, method, query
string and Referer."""

Draft = str
"""A message in the form in which it waits: its parts, where all are texts, one behind the other.

It holds nothing of the event alive, nobody can change it, and it is cheap to make."""

_BETWEEN = "\x7f"  # two parts of a draft


def parts(event: dict[str, Any], event_name: str) -> Parts | None:
    """What an event's message is made of; `None` where the event is not to be mirrored.

    Mirrored are errors (at least one exception value) of a user with an id. A part may be of any
    type but for the first, the user's id, the environment and the exception's type, all texts.

    It runs within the application's request. So the usual case is written out here, which takes
    two thirds of the time that calls would (`scripts/bench calling_thread`); `relay` has the
    unusual ones.
    """
    get = event.get
    user = get("user")
    if not isinstance(user, dict):
        return None
    user_id = user.get("id")
    if user_id is None:
        return None
    if type(user_id) is not str:
        user_id = relay.text(user_id)
    # "[Filtered]" is what scrubbing leaves behind: not somebody's id.
    if not user_id or user_id == "[Filtered]":
        return None
    exception = relay.first_exception(get("exception"))
    if exception is None or get("type") in ("transaction", "feedback"):
        return None
    exception_type = exception.get("type") if type(exception) is dict else None
    if not exception_type or type(exception_type) is not str:
        exception_type = relay.exception_type(exception)
    environment = get("environment")
    if (
        type(environment) is not str
        or not 0 < len(environment) <= relay.MAX_ENVIRONMENT
        or not relay.is_environment(environment)
    ):
        environment = relay.environment(environment, get("tags"))
    found = [
        event_name,
        get("event_id", ""),
        user_id,
        get("timestamp", ""),
        get("transaction", ""),
        get("release", ""),
        get("level", ""),
        environment,
        exception_type,
        user.get("ip_address", ""),
    ]
    request: Any = get("request")
    if not relay.has_request(request):
        return found
    get = request.get
    env, headers, query_string = get("env"), get("headers"), get("query_string")
    if query_string is None:  # the URL's is meant
        query_string = "?" + relay.query(None, get("url"))
    if type(headers) is dict and relay.ODD_SPELLINGS.isdisjoint(headers):
        # Relay reads a mapping sorted by its keys: the small letters come last.
        user_agent = headers.get("user-agent", headers.get("User-Agent", ""))
        referer = headers.get("referer", headers.get("Referer", ""))
    else:
        user_agent = relay.last_header(headers, "user-agent")
        referer = relay.last_header(headers, "referer")
    found += (
        env.get("REMOTE_ADDR", "") if isinstance(env, dict) else "",
        user_agent,
        get("url", ""),
        get("method", ""),
        query_string,
        referer,
    )
    return found


def draft(parts: Parts, max_length: int) -> Draft | None:
    """The parts as one text; `None` where that is longer, or where some part is no text."""
    try:
        text = _BETWEEN.join(parts)
    except TypeError:
        return None
    if len(text) > max_length or text.count(_BETWEEN) != len(parts) - 1:
        return None
    return text


def parts_of(draft: Draft) -> Parts:
    """The parts that a draft was made of."""
    return draft.split(_BETWEEN)


def texts(parts: Parts) -> tuple[list[str], bool, bool]:
    """The texts of a message in their order, as Relay normalises them.

    And whether they have an IP address, and those of a request, among them. A timestamp that can't
    be read becomes the present time, so that of a draft the time at which it is sent.
    """
    name, event_id, user_id, timestamp, transaction, release, level, *others = parts
    environment, exception_type, ip, *of_request = others
    event_id = relay.event_id(event_id)
    ip = relay.ip_address(ip, *of_request[:1])
    found = [
        event_id,
        user_id,
        name,
        relay.timestamp(timestamp),
        event_id,
        relay.transaction(transaction),
        relay.release(release),
        relay.level(level),
        environment,
        exception_type,
    ]
    if ip is not None:
        found.append(ip)
    if of_request:
        _, user_agent, url, method, query_string, referer = of_request
        found += (
            relay.header(user_agent),
            relay_url.url(url),
            relay.method(method),
            relay.query(query_string, url),
            relay.header(referer),
        )
    return found, ip is not None, bool(of_request)


def compose(texts: Iterable[str], has_ip: bool, has_request: bool) -> TrackMessage:
    """The message that has these texts, in this order."""
    take = iter(texts).__next__
    context: dict[str, Any] = {"library": {"name": "sentry", "version": __version__}}
    message: TrackMessage = {
        "type": "track",
        "messageId": take(),
        "userId": take(),
        "event": take(),
        "timestamp": take(),
        "properties": {
            "eventId": take(),
            "transaction": take(),
            "release": take(),
            "level": take(),
            "environment": take(),
            "exceptionType": take(),
        },
        "context": context,
        "integration": {"name": "sentry", "version": __version__},
    }
    if has_ip:
        context["ip"] = take()
    if has_request:
        context["userAgent"] = take()
        context["page"] = {
            "url": take(),
            "method": take(),
            "search": take(),
            "referrer": take(),
        }
    return message


def track_message(parts: Parts) -> TrackMessage:
    """The message made of these parts. It shares no container with the event."""
    return compose(*texts(parts))


def characters(message: TrackMessage) -> int:
    """How many characters a message has, about: those of its texts that may be long."""
    context, page = message["context"], message["context"].get("page", {})
    texts = (message["userId"], context.get("userAgent", ""), *message["properties"].values())
    return sum(map(len, texts)) + sum(map(len, page.values()))
