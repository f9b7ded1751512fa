"""A message that waits as a draft is the same as one that is made at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from events import KNOWN
from sentry_segment.mapping.encoding import MAX_MESSAGE_BYTES, encode
from sentry_segment.mapping.message import draft, parts, track_message
from support import many

plain = st.one_of(
    st.text(st.characters(), max_size=40),
    st.text(st.sampled_from('ab"\\\n\t\x00\x1f\x7f /%?&#é€😀\ud800'), max_size=12),
)
plain_events = st.fixed_dictionaries(
    {
        "event_id": st.uuids().map(lambda number: number.hex),
        "timestamp": st.datetimes(min_value=datetime(1970, 1, 1)).map(
            lambda moment: moment.isoformat(timespec="microseconds") + "Z"
        ),
        "exception": plain.map(lambda kind: {"values": [{"type": kind}]}),
        "user": st.fixed_dictionaries({"id": plain}, optional={"ip_address": plain}),
    },
    optional={
        **dict.fromkeys(("transaction", "release", "environment"), plain),
        "level": st.sampled_from(["info", "fatal"]) | plain,
        "request": st.fixed_dictionaries(
            {},
            optional={
                "url": plain.map("https://shop.example/".__add__) | plain,
                "method": st.sampled_from(["GET", "post"]) | plain,
                "query_string": st.none() | plain,
                "env": st.fixed_dictionaries({}, optional={"REMOTE_ADDR": plain}),
                "headers": st.dictionaries(
                    st.sampled_from(["User-Agent", "user-agent", "USER-agent", "Referer"]), plain
                ),
            },
        ),
    },
)


@settings(max_examples=many(500), deadline=None, database=None)
@given(event=plain_events, name=plain)
def test_a_message_that_has_waited_as_a_draft_is_the_same(event: dict[str, Any], name: str) -> None:
    found = parts(event, name)
    if found is None:
        assert event["user"]["id"] in ("", "[Filtered]")
        return
    made = draft(found, MAX_MESSAGE_BYTES)
    if made is None:
        assert any("\x7f" in part for part in found)
    else:
        assert type(made) is str
        assert encode(made) == encode(track_message(found))


def test_only_texts_make_a_draft_and_not_without_a_limit() -> None:
    event = {**KNOWN, "transaction": "t" * 1_000, "request": {"query_string": [["a", "b"]]}}
    found = parts(event, "Error Captured")
    assert found is not None
    assert draft(found, 10_000) is None
    found = parts({**event, "request": {"query_string": "a=b"}}, "Error Captured")
    assert found is not None
    made = draft(found, 10_000)
    assert made is not None
    assert draft(found, len(made)) == made
    assert draft(found, len(made) - 1) is None
