"""Segment's limits: 32 KB a message, 500 KB and 2,500 messages a batch."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentry_segment.mapping.encoding import (
    MAX_MESSAGE_BYTES,
    EncodingError,
    MessageTooLongError,
    encode,
)
from sentry_segment.mapping.message import TrackMessage, draft, parts
from sentry_segment.wire.bodies import (
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGES,
    batch_body,
    fits,
    track_body,
)
from support import message_for


def message(**properties: Any) -> TrackMessage:
    made = message_for({"exception": {"values": [{"type": "E"}]}, "user": {"id": "u1"}}, "E")
    assert made is not None
    made["properties"].update(properties)
    return made


def test_a_message_within_the_limit_is_untouched() -> None:
    given = message(note="ä" * 15_000)
    assert json.loads(encode(given)) == given


@pytest.mark.parametrize("character", ["x", "ä", "€", "😀", '"', "\n", "\x00"])
def test_a_message_over_the_limit_has_its_longest_text_cut(character: str) -> None:
    given = message(long=character * 40_000, short="y" * 900)
    body = encode(given)
    assert MAX_MESSAGE_BYTES - 50 < len(body) <= MAX_MESSAGE_BYTES
    sent = json.loads(body)
    cut, whole = sent["properties"].pop("long"), given["properties"].pop("long")
    assert cut.endswith("...")
    assert whole.startswith(cut[:-3])
    assert sent == given


def test_several_long_texts_are_cut_to_one_length() -> None:
    sent = json.loads(encode(message(a="a" * 20_000, b="b" * 50_000, c="c" * 5_000)))
    assert len(sent["properties"]["a"]) == len(sent["properties"]["b"]) > 10_000
    assert sent["properties"]["c"] == "c" * 5_000
    assert sent["properties"]["a"].endswith("...")


def test_ids_are_never_cut() -> None:
    given = message(long="x" * 50_000)
    given["userId"] = "u" * 20_000
    sent = json.loads(encode(given))
    for field in ("userId", "messageId"):
        assert sent[field] == cast(dict[str, Any], given)[field]
    assert sent["properties"]["eventId"] == given["properties"]["eventId"]


def test_long_texts_are_found_in_lists_and_mappings() -> None:
    sent = json.loads(encode(message(nested={"list": [("x" * 50_000,)]})))
    assert len(sent["properties"]["nested"]["list"][0][0]) > 30_000


def test_what_no_cut_brings_within_the_limit_is_refused() -> None:
    given = message()
    given["userId"] = "u" * 40_000
    with pytest.raises(MessageTooLongError, match="40"):
        encode(given)
    with pytest.raises(MessageTooLongError):
        encode(message(many=list(range(20_000))))


class Hostile(dict[str, Any]):
    def items(self) -> Any:
        raise ArithmeticError("not today")


def recursive() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        b"bytes",
        float("nan"),
        float("inf"),
        recursive(),
        {(1, 2): 3},
        Hostile(a=1),
    ],
)
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(EncodingError):
        encode(message(value=value))


def test_lone_surrogates_become_question_marks() -> None:
    sent = json.loads(encode(message(text="a\ud800b", pair="😀")))
    assert (sent["properties"]["text"], sent["properties"]["pair"]) == ("a?b", "😀")


def test_what_comes_in_with_the_normalisation_is_escaped_too() -> None:
    """In the host's name, IDNA makes the usual characters of those of full width."""
    event = {
        "exception": {"values": [{"type": "E"}]},
        "user": {"id": "u1"},
        "request": {"url": "https://shop\uff02.example/"},
    }
    found = parts(event, "E")
    assert found is not None
    waiting = draft(found, MAX_MESSAGE_BYTES)
    assert waiting is not None
    sent = json.loads(encode(waiting))
    assert sent["context"]["page"]["url"] == 'https://shop".example/'


@settings(deadline=None, database=None)
@given(
    text=st.text(st.characters(), min_size=1, max_size=50),
    times=st.integers(1, 60_000),
    name=st.text(st.characters(), max_size=200),
)
def test_whatever_the_texts_the_json_is_valid_and_within_the_limit(
    text: str, times: int, name: str
) -> None:
    body = encode(message(long=text * times, name=name))
    assert len(body) <= MAX_MESSAGE_BYTES
    assert json.loads(body.decode())["userId"] == "u1"


def test_a_full_batch_is_within_the_limits() -> None:
    sent_at = "2026-01-01T00:00:00.000Z"
    sizes = [MAX_MESSAGE_BYTES] * (MAX_BATCH_BYTES // MAX_MESSAGE_BYTES + 1)
    while not fits(len(sizes), sum(sizes)):
        sizes[-1] -= 1
    bodies = [b'"%s"' % (b"x" * (size - 2)) for size in sizes]
    assert MAX_BATCH_BYTES - 200 < len(batch_body(bodies, sent_at)) <= MAX_BATCH_BYTES
    assert fits(MAX_BATCH_MESSAGES, MAX_BATCH_MESSAGES)
    assert not fits(MAX_BATCH_MESSAGES + 1, MAX_BATCH_MESSAGES + 1)


def test_the_bodies_carry_the_messages_and_the_time_they_were_sent_at() -> None:
    sent_at = "2026-01-01T00:00:00.000Z"
    one, two = message(n=1), message(n=2)
    assert json.loads(track_body(encode(one), sent_at)) == {**one, "sentAt": sent_at}
    assert json.loads(batch_body([encode(one), encode(two)], sent_at)) == {
        "batch": [one, two],
        "sentAt": sent_at,
    }
