"""Whatever an event holds, a message made of it is valid."""

from __future__ import annotations

import enum
import json
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from events import contents
from sentry_segment.mapping.encoding import encode
from support import many, message_for


class Colour(enum.IntEnum):
    RED = 1


class Opaque:
    pass


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),  # with lone surrogates
    st.binary(max_size=4),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.sampled_from([-(2**64), 1e300, Colour.RED, Opaque(), Decimal("NaN"), {1}, date.min]),
    st.sampled_from(
        ["\ud800", "http://\udfff/\ud800?\ud800", "\x00", "{{auto}}", "[Filtered]", "…"]
    ),
)
junk = st.recursive(
    odd,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(st.characters()), st.integers(), st.none()), inner),
    ),
    max_leaves=6,
)
junk_pairs = st.lists(st.tuples(junk, junk), max_size=3)
junk_urls = st.tuples(
    st.sampled_from(["", "http:", "https://", "HTTP:\\", "ws://u@", "//"]), st.text(st.characters())
).map("".join)


def record(*texts: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A mapping that has some of the fields: junk mostly, and at times text."""
    optional = {name: st.one_of(junk, fields.get(name, junk)) for name in (*texts, *fields)}
    return st.fixed_dictionaries({}, optional=optional)


junk_events = record(
    *("event_id", "timestamp", "level", "release", "environment", "transaction", "tags", "type"),
    request=record(
        "method",
        "data",
        url=junk_urls,
        query_string=st.one_of(junk_pairs, junk_urls),
        headers=st.tuples(st.sampled_from(["User-Agent", "referer"]), junk).map(lambda h: [h]),
        env=record("REMOTE_ADDR"),
    ),
)
junk_exceptions = st.lists(st.one_of(junk, record("type", "value")), min_size=1, max_size=2)


@settings(max_examples=many(300), deadline=None, database=None)
@given(event=junk_events, values=junk_exceptions, user=record("ip_address"), user_id=junk)
def test_any_event_gives_a_valid_message_or_none(
    event: dict[str, Any], values: list[Any], user: Any, user_id: Any
) -> None:
    assert_valid(message_for(event, "Error Captured"))
    event["exception"] = {"values": values}
    assert_valid(message_for(event, "Error Captured"))
    event["user"] = user_id
    assert_valid(message_for(event, "Error Captured"))
    event["user"] = {**user, "id": user_id}
    assert_valid(message_for(event, "Error Captured"))
    event["user"] = {**user, "id": "u1"}
    event["type"] = "error"
    message = message_for(event, "Error Captured")
    assert message is not None
    assert_valid(message)


def assert_valid(message: Any) -> None:
    if message is None:
        return
    assert {type(part) for part in contents(message)} == {dict, str}
    assert message["userId"] not in ("", "[Filtered]")
    assert re.fullmatch("[0-9a-f]{32}", message["messageId"])
    datetime.strptime(message["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert json.loads(json.dumps(message, allow_nan=False)) == message
    assert json.loads(encode(message)).keys() == message.keys()
