"""A field is known in one place: its row in the table is all that it takes to have it sent."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk

from collector import Collector
from sentry_segment.mapping import fields
from sentry_segment.mapping.encoding import MAX_MESSAGE_BYTES, encode
from sentry_segment.mapping.message import draft, parts, track_message
from sentry_segment.mapping.table import Captured, Copy, Field, RequestField, Row, Table
from support import Init, message_for

EVENT: dict[str, Any] = {
    "event_id": "0123456789abcdef0123456789abcdef",
    "timestamp": "2026-11-23T04:05:06.789012Z",
    "exception": {"values": [{"type": "KeyError"}]},
    "user": {"id": "1906"},
    "transaction": "checkout",
}
REQUEST = {"url": "https://shop.example/cart", "headers": {"Referer": "https://shop.example/"}}

Add = Callable[..., None]


def zoned(zone: str = "Europe/Vienna", **others: Any) -> dict[str, Any]:
    return {**EVENT, "contexts": {"culture": {"timezone": zone}}, **others}


def in_culture(captured: Captured) -> object:
    found: object = captured.event
    for key in ("contexts", "culture", "timezone"):
        found = found.get(key, "") if isinstance(found, dict) else ""
    return found


def if_any(text: str) -> str | None:
    return text.strip() or None


def at(message: Any, path: str) -> Any:
    for name in path.split("."):
        message = message.get(name) if isinstance(message, dict) else None
    return message


def without(message: Any, path: str) -> Any:
    """The message without the field, and without the containers that it alone was in."""
    if not isinstance(message, dict):
        return message
    name, _, rest = path.partition(".")
    inner = without(message[name], rest) if rest else None
    kept = {key: value for key, value in message.items() if key != name}
    return {key: inner if key == name else message[key] for key in message} if inner else kept


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Add:
    """Adds rows to the table, behind that of a path; else at its end."""

    def add(*rows: Row, behind: str | None = None) -> None:
        table = list(fields.FIELDS.rows)
        place = len(table) if behind is None else [row.path for row in table].index(behind) + 1
        table[place:place] = rows
        monkeypatch.setattr(fields, "FIELDS", Table(table))

    return add


PLACES = [
    ("context.timezone", "context.ip"),
    ("properties.sentryUrl", "properties.exceptionType"),
    ("anonymousId", "userId"),  # neither in `properties` nor in `context`
    ("traits.place.zone", None),  # in containers of its own
]


@pytest.mark.parametrize("hook", [False, True], ids=["as a draft", "by way of before_track"])
@pytest.mark.parametrize(("path", "behind"), PLACES)
def test_with_a_row_more_segment_gets_a_field_more(
    path: str, behind: str | None, hook: bool, add: Add, collector: Collector, init: Init
) -> None:
    """Where the event has a value for it. All else in the message stays as it was."""
    seen = []

    def before_track(message: Any, event: Any) -> Any:
        seen.append(at(message, path))
        return message

    def capture(event: dict[str, Any]) -> Any:
        number = len(collector.messages)
        sentry_sdk.capture_event(copy.deepcopy(event))  # type: ignore[arg-type]
        return collector.wait_for_messages(number + 1)[-1]

    init(segment={"before_track": before_track} if hook else {})
    event = zoned(" Europe/Vienna ", request=REQUEST)
    before = capture(event)
    add(Field(path, in_culture, if_any), behind=behind)
    assert at(before, path) is None
    message = capture(event)
    assert at(message, path) == "Europe/Vienna"
    absent = capture({**EVENT, "request": REQUEST})
    assert seen == ([None, "Europe/Vienna", None] if hook else [])
    for each in (before, message, absent):
        del each["sentAt"]
    assert without(message, path) == absent == before


@pytest.mark.parametrize(("path", "behind"), PLACES)
@pytest.mark.parametrize("others", [{}, {"request": REQUEST}], ids=["no request", "a request"])
def test_the_field_stands_where_its_row_does(
    path: str, behind: str | None, others: Any, add: Add
) -> None:
    """However the message has waited."""
    event = zoned(**others)
    before = list(leaves(message_for(event, "E")))
    add(Field(path, in_culture, if_any), behind=behind)
    found = parts(event, "E")
    assert found is not None
    waiting = draft(found, MAX_MESSAGE_BYTES)
    assert waiting is not None
    body = encode(waiting)
    assert body == encode(track_message(found))
    after = list(leaves(json.loads(body)))
    position = after.index(path)
    assert after[position - 1] == (behind if behind in before else before[position - 1])
    assert after[:position] + after[position + 1 :] == before


def leaves(message: Any, path: str = "") -> Any:
    """The paths of all texts, in the order in which the message has them."""
    if not isinstance(message, dict):
        yield path
        return
    for name in message:
        yield from leaves(message[name], f"{path}.{name}".strip("."))


@pytest.mark.parametrize("hook", [False, True], ids=["as a draft", "by way of before_track"])
def test_the_field_is_cut_where_it_is_too_long_unless_it_is_an_id(
    hook: bool, add: Add, collector: Collector, init: Init
) -> None:
    add(Field("context.timezone", in_culture, if_any))
    add(Field("anonymousId", lambda captured: "a" * 5_000, if_any, is_id=True))
    add(Copy("properties.visitor", of="anonymousId"))
    given = {"before_track": lambda message, event: message} if hook else {}
    init(max_value_length=100_000, segment=given)  # older SDKs cut texts to 1,024
    sentry_sdk.capture_event(zoned("z" * 26_000))  # type: ignore[arg-type]
    [message] = collector.wait_for_messages(1)
    del message["sentAt"]
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    assert MAX_MESSAGE_BYTES - 50 < len(body) <= MAX_MESSAGE_BYTES
    assert message["anonymousId"] == message["properties"]["visitor"] == "a" * 5_000
    assert message["context"]["timezone"].endswith("z...")


def test_a_very_long_field_does_not_wait_at_length(add: Add, init: Init) -> None:
    add(Field("context.timezone", in_culture, if_any))
    waiting = []

    def before_track(message: Any, event: Any) -> None:
        waiting.append(len(message["context"]["timezone"]))

    init(max_value_length=2_000_000, segment={"before_track": before_track})
    sentry_sdk.capture_event(zoned("z" * 1_000_000))  # type: ignore[arg-type]
    assert waiting == [MAX_MESSAGE_BYTES]


def test_a_field_of_the_request_is_there_where_the_event_has_one(add: Add) -> None:
    row = RequestField("context.page.host", lambda captured: captured.request.get("host", ""), str)
    add(row, behind="context.page.url")
    assert at(message_for(EVENT, "E"), "context.page") is None
    assert at(message_for({**EVENT, "request": REQUEST}, "E"), "context.page.host") == ""


def test_a_value_is_found_by_its_place_in_the_event(add: Add) -> None:
    add(
        Field("properties.server", "server_name", if_any),
        Field("traits.name", "user.username", if_any),
        RequestField("context.page.body", "request.data", if_any),
    )
    user = {"id": "1906", "username": "jo"}
    event = {**EVENT, "server_name": "web-1", "user": user, "request": {"data": "a=1"}}
    message = message_for(event, "E")
    assert at(message, "properties.server") == "web-1"
    assert at(message, "traits.name") == "jo"
    assert at(message, "context.page.body") == "a=1"
    assert not {"properties.server", "traits.name"} & set(leaves(message_for(EVENT, "E")))


def test_a_row_taken_away_or_renamed_is_a_field_less_or_by_another_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = {**EVENT, "request": REQUEST}
    before = message_for(event, "E")
    rows = [row for row in fields.FIELDS.rows if row.path != "context.page.referrer"]
    [renamed] = [row for row in rows if row.path == "properties.transaction"]
    assert isinstance(renamed, Field)
    rows[rows.index(renamed)] = Field("properties.place", renamed.find, renamed.rule)
    monkeypatch.setattr(fields, "FIELDS", Table(rows))
    after = message_for(event, "E")
    assert after is not None
    assert before is not None
    assert after["properties"].pop("place") == before["properties"].pop("transaction")
    assert before["context"]["page"].pop("referrer") == "https://shop.example/"
    assert after == before


def test_of_rows_with_one_path_the_first_that_has_a_text_counts(add: Add) -> None:
    add(Field("context.zone", lambda captured: captured.event.get("zone", ""), if_any))
    add(Field("context.zone", in_culture, if_any))
    for event, zone in [
        ({**zoned(), "zone": "a"}, "a"),
        (zoned(), "Europe/Vienna"),
        (EVENT, None),
    ]:
        assert at(message_for(event, "E"), "context.zone") == zone


def test_what_comes_up_while_values_are_found_is_seen_to_be_in_our_code() -> None:
    """By its module: what another thread raises there travels on to the application."""
    nothing: Any = None
    with pytest.raises(AttributeError) as caught:
        fields.FIELDS.find(Captured(nothing, nothing, "u1", nothing, nothing, "E"))
    innermost = caught.traceback[-1].frame.f_globals
    assert innermost["__name__"] == "sentry_segment.mapping.table"


def test_a_value_that_is_not_simply_in_the_event_takes_a_function() -> None:
    for row in (Field, RequestField):
        with pytest.raises(ValueError, match=r"context\.locale: a function is needed"):
            row("context.locale", "contexts.culture.locale", if_any)
    with pytest.raises(ValueError, match=r"a function is needed to find request\.url"):
        Field("context.page.url", "request.url", if_any)
