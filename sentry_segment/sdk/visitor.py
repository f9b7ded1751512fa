"""Whose an error is that nobody is logged in for: the anonymous id of a scope, and of an event."""

from __future__ import annotations

import threading
from typing import Any

from sentry_sdk.scope import Scope

from sentry_segment.guest.log import ProblemLog
from sentry_segment.mapping.visitor import MAX_LENGTH, anonymous_id_of, is_anonymous_id

_log = ProblemLog()
_noted = threading.local()  # .event_id, .anonymous_id: of the thread's latest event


class _Visitor:
    """An event processor that changes nothing, and notes whose the event is.

    Sentry copies a scope's processors where it forks the scope, and hands them each of its events.
    So an id goes wherever the scope's tags go, and nothing of it is in the event.
    """

    def __init__(self, anonymous_id: str | None) -> None:
        self._anonymous_id = anonymous_id

    def __call__(self, event: Any, hint: Any) -> Any:
        _noted.event_id, _noted.anonymous_id = event.get("event_id"), self._anonymous_id
        return event


def set_anonymous_id(anonymous_id: str | None) -> None:
    """Say by which anonymous id Segment knows the present visitor; `None`: by none.

    It holds for Sentry's current isolation scope (one request, one task), and for the scopes that
    are forked from it later, as a tag does. It has an effect with the option `anonymous`, and is
    never in Sentry's event. What can't be an id (not a text of 1 to 255 characters that can be
    printed) is taken for `None`, with a line in the log; nothing is raised.
    """
    if anonymous_id is not None and not is_anonymous_id(anonymous_id):
        given = f"a {type(anonymous_id).__name__}"
        if isinstance(anonymous_id, str):
            given = f"one of {len(anonymous_id)} characters"
        expected = f"a text of 1 to {MAX_LENGTH} characters that can be printed, or None"
        _log.warn("anonymous_id", f"set_anonymous_id: expected {expected}; got {given}")
        anonymous_id = None
    scope = Scope.get_isolation_scope()  # which older SDKs have nowhere else
    # There is no public way to take one away, and with more than 20 the SDK forgets them all.
    processors: list[Any] = getattr(scope, "_event_processors", [])
    for position, processor in enumerate(processors):
        if type(processor) is _Visitor:
            # Another object: scopes that were forked from this one have the old one.
            processors[position] = _Visitor(anonymous_id)
            return
    if anonymous_id is not None:
        scope.add_event_processor(_Visitor(anonymous_id))


def anonymous_id_for(event: dict[str, Any]) -> str | None:
    """The anonymous id of an event that this thread is capturing: its scope's, or its cookie's."""
    if getattr(_noted, "event_id", None) == event.get("event_id"):
        found: str | None = _noted.anonymous_id
        if found is not None:
            return found
    return anonymous_id_of(event.get("request"))
