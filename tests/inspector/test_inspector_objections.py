"""What the inspector says that Segment would object to."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from inspectors import NOW, Poster, message, without
from sentry_segment.inspector.objections import (
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    Objection,
    to_message,
)
from sentry_segment.inspector.server import Inspector

# Of messages

TO_MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({"userId": "UUID('8b1c')"}, Objection.SHOWN_ID.text("UUID")),
    ({"userId": '<User "jo">'}, Objection.SHOWN_ID.text("User")),
    ({"userId": None}, Objection.NO_USER.text()),
    ({"userId": ""}, Objection.NO_USER.text()),
    ({"userId": 1906}, Objection.NO_TEXT.text("userId")),
    ({"anonymousId": ["a"]}, Objection.NO_TEXT.text("anonymousId")),
    ({"event": ""}, Objection.NO_EVENT.text()),
    ({"event": None}, Objection.NO_EVENT.text()),
    ({"event": 4}, Objection.NO_EVENT.text()),
    ({"messageId": 7}, Objection.NO_TEXT.text("messageId")),
    ({"messageId": "x" * 100}, Objection.LONG_MESSAGE_ID.text(100)),
    ({"properties": []}, Objection.NOT_AN_OBJECT.text("properties")),
    ({"context": "none"}, Objection.NOT_AN_OBJECT.text("context")),
    ({"integrations": True}, Objection.NOT_AN_OBJECT.text("integrations")),
    ({"traits": 1}, Objection.NOT_AN_OBJECT.text("traits")),
    ({"timestamp": 1709294400}, Objection.BAD_TIMESTAMP.text("timestamp")),
    ({"timestamp": "yesterday"}, Objection.BAD_TIMESTAMP.text("timestamp")),
    ({"timestamp": "2024-03-01T12:00:00"}, Objection.BAD_TIMESTAMP.text("timestamp")),
    ({"timestamp": "2024-13-01T12:00:00Z"}, Objection.BAD_TIMESTAMP.text("timestamp")),
    ({"timestamp": "2024-03-01T12:00:00+00:00Z"}, Objection.BAD_TIMESTAMP.text("timestamp")),
    ({"timestamp": "2024-03-01T12:06:00Z"}, Objection.AHEAD.text("0:06:00")),
    ({"timestamp": "9999-12-31T23:59:59-14:00"}, Objection.AHEAD.text("2913114 days, 1:59:59")),
]


def objections(content: Any, path: str = "track", sent_at: object = NOW) -> list[str]:
    now = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)
    return list(to_message(content, path, sent_at, now))


@pytest.mark.parametrize(("changes", "objection"), TO_MESSAGES, ids=str)
def test_one_fault_brings_one_objection(changes: dict[str, Any], objection: str) -> None:
    assert objections(message(**changes)) == [objection]
    assert objections(message(**changes), "batch") == [objection]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"userId": None, "anonymousId": "a1"},
        {"messageId": "x" * 99},
        {"timestamp": "2024-03-01T12:04:59.123456Z"},
        {"timestamp": "2024-03-01T12:00Z"},
        {"timestamp": "2024-03-01T12:00:00,5+0530"},
        {"timestamp": "2024-03-01T12:00:00+01"},
        {"timestamp": "0001-01-01T00:00:00+14:00"},
        {"properties": None, "context": None},
        # Segment fills these in.
        {"messageId": None, "timestamp": None},
        {"messageId": "", "timestamp": ""},
    ],
    ids=str,
)
def test_what_segment_takes_brings_none(changes: dict[str, Any]) -> None:
    assert objections(message(**changes)) == []


def test_the_future_begins_with_sent_at() -> None:
    """Segment corrects the clock of the sender by it."""
    late = message(timestamp="2024-03-01T15:00:00Z")
    assert objections(late, sent_at="2024-03-01T15:00:01Z") == []
    assert objections(late, sent_at=None) == [Objection.AHEAD.text("3:00:00")]


@pytest.mark.parametrize("content", [None, 7, "track", ["track"]], ids=str)
def test_a_message_that_is_no_object_is_said_to_be_none(content: Any) -> None:
    assert objections(content, "batch") == [Objection.NO_OBJECT.text()]


def test_a_message_of_a_batch_needs_a_type_that_segment_knows() -> None:
    found = [
        objections(without(message(), "type", "event"), "batch"),
        objections(message(type="trakc"), "batch"),
        objections(message(type=["track"]), "batch"),
    ]
    assert found == [
        [Objection.NO_TYPE.text("missing")],
        [Objection.NO_TYPE.text("trakc")],
        [Objection.NO_TYPE.text("['track']")],
    ]


def test_a_message_of_its_own_needs_no_type_but_may_not_have_another() -> None:
    assert objections(without(message(), "type")) == []
    assert objections(message(type="page")) == [Objection.OTHER_TYPE.text("page")]
    assert objections(message(type="page", event=None), "page") == []


def test_an_objection_says_what_comes_of_it_at_segment() -> None:
    ranks = {objection: objection.text().rank for objection in Objection}
    assert ranks[Objection.NO_USER] == ranks[Objection.NO_WRITE_KEY] == "drops"
    assert ranks[Objection.NO_TEXT] == ranks[Objection.BAD_TIMESTAMP] == "changes"
    assert ranks[Objection.NO_SENT_AT] == ranks[Objection.AHEAD] == "advice"
    for objection, rank in ranks.items():
        assert ("dropped" not in objection.value) or rank == "drops"


# Of requests

JSON: dict[str, Any] = {"headers": {"Content-Type": "application/json"}}


def body(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def told(inspector: Inspector) -> list[tuple[str, ...]]:
    return [record.objections for record in inspector.store.records]


def statuses(inspector: Inspector) -> list[int]:
    return [record.status for record in inspector.store.records]


def test_a_good_message_is_taken_without_objection(inspector: Inspector, app: Poster) -> None:
    answer = app.segment(message(sentAt=NOW))
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert told(inspector) == [()]


def test_each_kind_of_call_is_taken(inspector: Inspector, app: Poster) -> None:
    for kind in ("track", "identify", "page", "screen", "group", "alias"):
        assert app.segment(message(type=kind, messageId=kind, sentAt=NOW), kind).is_success
    assert told(inspector) == [()] * 6
    assert [record.summary["kind"] for record in inspector.store.records][1] == "identify"


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[]", "another kind of value"),
        (b'{"userId": NaN}', "NaN is no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 101 + b"{}" + b"}" * 101, "nested too deeply"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "4300"),
        (b'{"a": 1e999}', "Out of range"),
        (b"\xff\xfe\xff", "decode"),
    ],
    ids=range(10),
)
def test_what_is_no_json_object_is_refused(
    inspector: Inspector, app: Poster, content: bytes, detail: str
) -> None:
    answer = app.segment(content)
    assert answer.status_code == 400
    [[objection]] = told(inspector)
    assert detail in objection
    assert answer.json() == {"success": False, "message": objection}


def test_what_is_nested_less_deeply_is_taken(inspector: Inspector, app: Poster) -> None:
    body = b'{"userId":' + b"[" * 99 + b"7" + b"]" * 99 + b"}"
    assert app.segment(body).is_success
    assert not any("JSON" in each for each in inspector.store.records[0].objections[1:])


@pytest.mark.parametrize("batch", [None, {}, "[]", 4], ids=str)
def test_a_batch_that_is_no_list_is_refused(inspector: Inspector, app: Poster, batch: Any) -> None:
    assert app.segment({"batch": batch, "sentAt": NOW}, "batch").status_code == 400
    assert told(inspector) == [(Objection.NO_BATCH.text(),)]


def test_a_message_over_32_kb_is_refused(inspector: Inspector, app: Poster) -> None:
    room = MAX_MESSAGE_BYTES - len(body(message(sentAt=NOW, text="")))
    assert app.segment(body(message(sentAt=NOW, text="x" * room)), **JSON).is_success
    long = message(sentAt=NOW, messageId="long", text="x" * (room + 28 + 1))
    assert app.segment(body(long), **JSON).status_code == 400
    assert told(inspector) == [(), (Objection.MESSAGE_TOO_LONG.text("32,769"),)]
    assert inspector.store.records[1].payload == long


def test_a_batch_with_a_message_over_32_kb_is_refused_whole(
    inspector: Inspector, app: Poster
) -> None:
    answer = app.batch(message(), message(messageId="long", text="ü" * 17_000))
    assert answer.status_code == 400
    assert statuses(inspector) == [400, 400]
    [together], [too_long] = told(inspector)
    assert together == Objection.REFUSED_TOGETHER.text()
    assert too_long.startswith("the message has 34,")


def test_a_request_over_500_kb_is_refused(inspector: Inspector, app: Poster) -> None:
    messages = [message(messageId=str(n), text="x" * 30_000) for n in range(17)]
    assert app.batch(*messages).status_code == 400
    size = len(body({"batch": messages, "sentAt": NOW}))
    assert size > MAX_REQUEST_BYTES
    assert told(inspector) == [(Objection.REQUEST_TOO_LONG.text(f"{size:,}"),)] * 17
    assert app.batch(*messages[:16]).is_success


def test_more_than_2500_messages_are_objected_to(inspector: Inspector, app: Poster) -> None:
    messages = [{"type": "page", "messageId": str(n), "userId": "1906"} for n in range(2501)]
    assert app.batch(*messages).is_success
    assert {objections[0] for objections in told(inspector)} == {Objection.TOO_MANY.text("2,501")}
    inspector.store.clear()
    app.batch(*messages[:2500])
    assert set(told(inspector)) == {()}


def test_an_empty_batch_is_shown(inspector: Inspector, app: Poster) -> None:
    assert app.batch().is_success
    assert told(inspector) == [(Objection.EMPTY_BATCH.text(),)]


@pytest.mark.parametrize(
    "authorization",
    [
        *("", "Basic", "Basic !!!", "Basic a2V5", "Basic a2V5OnBhc3N3b3Jk", "Basic Og=="),
        *("Basic /w==", "Bearer a2V5Og=="),
    ],
)
def test_without_a_usable_write_key_the_answer_is_401(
    inspector: Inspector, app: Poster, authorization: str
) -> None:
    headers = {"Authorization": authorization}
    answer = app.segment(message(sentAt=NOW), auth=None, headers=headers)
    assert answer.status_code == 401
    assert told(inspector) == [(Objection.NO_WRITE_KEY.text(),)]
    assert inspector.store.records[0].write_key is None


def test_sent_at_and_the_content_type_are_looked_at(inspector: Inspector, app: Poster) -> None:
    app.segment(message(messageId="a"))
    app.segment(message(messageId="b", sentAt="now"))
    app.segment(body(message(messageId="c", sentAt=NOW)), headers={"Content-Type": "text/x"})
    app.segment(body(message(messageId="d", sentAt=NOW)))
    assert told(inspector) == [
        (Objection.NO_SENT_AT.text(),),
        (Objection.BAD_TIMESTAMP.text("sentAt"),),
        (Objection.NO_JSON_TYPE.text("text/x"),),
        (Objection.NO_JSON_TYPE.text("missing"),),
    ]


def test_a_repeat_is_objected_to_where_the_first_was_taken(
    inspector: Inspector, app: Poster
) -> None:
    app.segment(message(sentAt=NOW), auth=None)
    app.segment(message(sentAt=NOW))
    app.segment(message(sentAt=NOW))
    app.batch(message(messageId="twice"), message(messageId="twice"))
    app.batch(message(messageId=""), message(messageId=""))
    assert [told[-1:] == (Objection.REPEATED.text(),) for told in told(inspector)] == [
        *(False, False, True),
        *(False, True),
        *(False, False),
    ]


def test_an_empty_message_id_joins_nothing(inspector: Inspector, app: Poster) -> None:
    app.batch(message(messageId=""), without(message(), "messageId"))
    assert [record.id for record in inspector.store.records] == [None, None]
