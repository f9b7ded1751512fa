"""The anonymous id by which Segment knows a visitor before the log-in, and what is none.

Segment's analytics.js keeps it in a cookie, and joins it to the user when `identify` is called
(https://segment.com/docs/connections/sources/catalog/libraries/website/javascript/identity/).
"""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

from sentry_segment.mapping import relay, relay_request

COOKIE = "ajs_anonymous_id"
MAX_LENGTH = 255  # characters
_MOST_ENCODED = 20 * MAX_LENGTH  # in JSON, each character of it escaped, and all percent-encoded
_NO_IDS = frozenset({"", "null", "undefined", "[Filtered]"})
_IN_HEADER = re.compile(rf"(?:^|;)[ \t]*{COOKIE}=([^;]*)")


def anonymous_id_from(cookies: object) -> str | None:
    """Segment's anonymous id among a request's cookies; `None` where there is none.

        sentry_segment.set_anonymous_id(sentry_segment.anonymous_id_from(request.COOKIES))

    Takes any mapping of names to values, such as Django's `request.COOKIES`, Flask's, FastAPI's and
    Starlette's `request.cookies`; a list of pairs; or the text of a `Cookie` header. The id is read
    in each form in which analytics.js has written it: plain, percent-encoded, in quotes. Whatever
    the cookies hold, nothing is raised.
    """
    try:
        return as_anonymous_id(_value_in(cookies))
    except Exception:  # noqa: BLE001 - of the application's own mapping
        return None


def _value_in(cookies: object) -> object:
    if isinstance(cookies, str):
        match = _IN_HEADER.search(cookies) if COOKIE in cookies else None
        return match and match[1]
    if isinstance(cookies, (list, tuple)):
        return next((value for name, value in relay.pairs(list(cookies)) if name == COOKIE), None)
    get = getattr(cookies, "get", None)
    return get(COOKIE) if get is not None else None


def as_anonymous_id(value: object) -> str | None:
    """A cookie's value as an id; `None` where it is none: empty, `null`, garbage, too long."""
    if not isinstance(value, str) or len(value) > _MOST_ENCODED:
        return None
    text = str.__str__(value).strip()
    if "%" in text:
        text = unquote(text, errors="strict")
    if text.startswith('"'):
        text = json.loads(text)
    return text if is_anonymous_id(text) else None


def is_anonymous_id(value: object) -> bool:
    """Whether it is a text that can be an id: of 1 to 255 characters that can be printed."""
    return (
        isinstance(value, str)
        and value not in _NO_IDS
        and len(value) <= MAX_LENGTH
        and value.isprintable()
        and '"' not in value
    )


def anonymous_id_of(request: object) -> str | None:
    """The id in the cookies of an event's request, where the SDK was allowed to collect them."""
    if type(request) is not dict:
        return None
    found = anonymous_id_from(request.get("cookies"))
    if found is None and (headers := request.get("headers")):
        found = anonymous_id_from(relay_request.last_header(headers, "cookie"))
    return found
