"""Sentry event -> Segment message, as Sentry's own server-side plugin does it. Pure functions.

In two steps, for the first is taken in the midst of the application's work: `parts` finds what a
message is made of. `texts` brings it into the form in which it is sent: later, and elsewhere. Which
fields there are, `fields` says alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from sentry_segment.mapping import fields, relay, relay_request
from sentry_segment.mapping.fields import TrackMessage as TrackMessage
from sentry_segment.mapping.table import Captured
from sentry_segment.mapping.table import Secrets as Secrets

Parts = Sequence[Any]
"""What a message is made of: the values of its fields as found in the event, in the order of
`fields.FIELDS`."""

Draft = str
"""A message in the form in which it waits: its parts, where all are texts, one behind the other.

It holds nothing of the event alive, nobody can change it, and it is cheap to make. A tuple of the
texts takes 2.4 times the memory."""

NO_FURTHER: Secrets = frozenset()

_BETWEEN = "\x7f"  # two parts of a draft


Visitor = Callable[[dict[str, Any]], str | None]
"""Tells the anonymous id of an event's user."""


def parts(
    event: dict[str, Any], event_name: str, visitor: Visitor | None = None, sentry_link: str = ""
) -> Parts | None:
    """What an event's message is made of; `None` where the event is not to be mirrored.

    Mirrored are errors (at least one exception value) of a user with an id, and with a `visitor`,
    those with an anonymous id as well. A part may be of any type but for the first, the ids, the
    environment and the exception's type, all texts. `sentry_link` is what a link to the event in
    Sentry begins with.

    It runs within the application's request. So the usual case is written out here, which takes
    two thirds of the time that calls would (`scripts/bench calling_thread`); `relay` has the
    unusual ones.
    """
    get = event.get
    user = get("user")
    if not isinstance(user, dict):
        user = {}
    user_id = user.get("id")
    if user_id is not None and type(user_id) is not str:
        user_id = relay.text(user_id)
    # "[Filtered]" is what scrubbing leaves behind: not somebody's id.
    if not user_id or user_id == "[Filtered]":
        if visitor is None:
            return None
        user_id = ""
    exception = relay.first_exception(get("exception"))
    if exception is None or get("type") in ("transaction", "feedback"):
        return None
    request = get("request")
    if not relay_request.has_request(request):
        request = None
    anonymous_id = "" if visitor is None else visitor(event) or ""
    if not user_id and not anonymous_id:
        return None
    return fields.FIELDS.find(
        Captured(event, user, user_id, exception, request, event_name, anonymous_id, sentry_link)
    )


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


def texts(parts: Parts, secrets: Secrets = NO_FURTHER) -> list[str | None]:
    """The texts of a message, as Relay normalises and scrubs them; `None` for fields that it does
    not have.

    A timestamp that can't be read becomes the present time, so that of a draft the time at which
    it is sent.
    """
    return fields.FIELDS.texts(parts, secrets)


def compose(texts: Sequence[str | None]) -> TrackMessage:
    """The message that has these texts. It shares no container with another."""
    return cast(TrackMessage, fields.FIELDS.compose(texts))


def track_message(parts: Parts, secrets: Secrets = NO_FURTHER) -> TrackMessage:
    """The message made of these parts. It shares no container with the event."""
    return compose(texts(parts, secrets))


def characters(message: TrackMessage) -> int:
    """How many characters a message has, about: those of its texts that may be long."""
    return sum(len(_at(message, path)) for path in fields.FIELDS.long)


def _at(message: Any, path: str) -> str:
    for name in path.split("."):
        message = message.get(name, "") if message else ""
    return str(message)
