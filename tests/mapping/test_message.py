"""The message for an event: the promises that the parity with the plugin does not show."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from events import contents
from sentry_segment import __version__
from support import message_for

EVENT_ID = "0123456789abcdef0123456789abcdef"
EVENT: dict[str, Any] = {
    "event_id": EVENT_ID,
    "timestamp": "2026-11-23T04:05:06.789012Z",
    "level": "error",
    "exception": {"values": [{"type": "KeyError", "value": "'article'"}]},
    "user": {"id": "u1"},
}


def mirrored(**fields: Any) -> Any:
    """The message for an error of a known user with these fields."""
    message = message_for({**EVENT, **fields}, "Error Captured")
    assert message is not None
    return message


def page(**request: Any) -> Any:
    return mirrored(request=request)["context"]["page"]


def test_a_message_in_full() -> None:
    event = {
        **EVENT,
        "level": "fatal",
        "release": "shop@1.2.3",
        "environment": "production",
        "transaction": "/checkout",
        "user": {"id": 42, "ip_address": "203.0.113.7", "email": "jo@shop.example"},
        "request": {
            "url": "https://shop.example/checkout",
            "query_string": "step=2&coupon=",
            "method": "POST",
            "headers": {"user-agent": "Firefox/145.0", "referer": "https://shop.example/cart"},
        },
    }
    assert message_for(event, "Oh no") == {
        "type": "track",
        "messageId": EVENT_ID,
        "userId": "42",
        "event": "Oh no",
        "timestamp": "2026-11-23T04:05:06.789012Z",
        "properties": {
            "eventId": EVENT_ID,
            "transaction": "/checkout",
            "release": "shop@1.2.3",
            "level": "fatal",
            "environment": "production",
            "exceptionType": "KeyError",
        },
        "context": {
            "library": {"name": "sentry", "version": __version__},
            "ip": "203.0.113.7",
            "userAgent": "Firefox/145.0",
            "page": {
                "url": "https://shop.example/checkout",
                "method": "POST",
                "search": "step=2&coupon=",
                "referrer": "https://shop.example/cart",
            },
        },
        "integration": {"name": "sentry", "version": __version__},
    }


def test_absent_fields_are_empty_texts_and_context_is_left_out() -> None:
    event = {"exception": EVENT["exception"], "user": {"id": "u1"}}
    message: Any = message_for(event, "Error Captured")
    assert message["context"] == {"library": {"name": "sentry", "version": __version__}}
    assert message["properties"] == {
        "eventId": message["messageId"],
        "transaction": "",
        "release": "",
        "level": "error",
        "environment": "",
        "exceptionType": "KeyError",
    }


def test_a_request_with_nothing_known_gives_empty_texts() -> None:
    context = mirrored(request={"data": "x"})["context"]
    assert context["userAgent"] == ""
    assert context["page"] == {"url": "", "method": "", "search": "", "referrer": ""}


# The first departure from the plugin: the timestamp


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-11-23T04:05:06.789012Z", "2026-11-23T04:05:06.789012Z"),
        ("2026-11-23T04:05:06Z", "2026-11-23T04:05:06.000000Z"),
        ("2026-11-23T04:05:06", "2026-11-23T04:05:06.000000Z"),
        ("2026-11-23T04:05:06.789012345Z", "2026-11-23T04:05:06.789012Z"),
        ("2026-11-23T04:05:06.7+05:30", "2026-11-22T22:35:06.700000Z"),
        ("2026-11-23T04:05:06-0100", "2026-11-23T05:05:06.000000Z"),
        (1704164645, "2024-01-02T03:04:05.000000Z"),
        (1704164645.123456, "2024-01-02T03:04:05.123456Z"),
        (0, "1970-01-01T00:00:00.000000Z"),
        (datetime(2026, 11, 23, 4, 5, 6), "2026-11-23T04:05:06.000000Z"),
        (
            datetime(2026, 11, 23, 4, 5, 6, tzinfo=timezone(timedelta(hours=1))),
            "2026-11-23T03:05:06.000000Z",
        ),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_the_timestamp_is_iso_8601_in_utc(given: Any, expected: str) -> None:
    assert mirrored(timestamp=given)["timestamp"] == expected


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "yesterday",
        "2026-02-30T00:00:00.000000Z",
        "2026-11-23",
        "0001-01-01T00:00:00+23:59",  # before the year 1 in UTC
        "9999-12-31T23:59:59-00:01",
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
        -1,
        1e20,
        10**400,
        math.nan,
        math.inf,
        True,
        [],
    ],
    ids=repr,
)
def test_a_timestamp_that_cannot_be_read_is_the_present(given: Any) -> None:
    before = datetime.now(timezone.utc)
    taken = datetime.fromisoformat(mirrored(timestamp=given)["timestamp"].replace("Z", "+00:00"))
    assert before <= taken <= datetime.now(timezone.utc)


# The second departure: search is text


@pytest.mark.parametrize(
    ("request_", "search"),
    [
        ({"query_string": "a=1&b=%20"}, "a=1&b=%20"),
        ({"query_string": "?a=1"}, "a=1"),
        ({"query_string": {"b": "x y", "a": 1}}, "a=1&b=x+y"),
        ({"query_string": [["b", "é"], ["a", None], ["b", True]]}, "b=%C3%A9&a=&b=true"),
        (
            {"query_string": {"a": {"c": 1, "b": [2.5]}}},
            "a=%7B%22b%22%3A%5B2.5%5D%2C%22c%22%3A1%7D",
        ),
        ({"query_string": "", "method": "GET"}, ""),
        ({"query_string": "", "url": "https://shop.example/?a=1"}, ""),
        ({"query_string": None, "url": "https://shop.example/?a=1#?b"}, "a=1"),
        ({"query_string": 5, "url": "/?a=1"}, "a=1"),
        ({"url": "/cart#?a=1"}, ""),
        ({"query_string": {"a": b"\xff", "b": {1, 2}, "c": 10**5000}}, "a=&b=&c="),
    ],
)
def test_search_is_the_query_as_text(request_: dict[str, Any], search: str) -> None:
    assert page(**request_)["search"] == search


# Who is a known user


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [(0, "0"), (42, "42"), (True, "True"), ("0", "0"), (" ", " "), (2.5, "2"), ("zoë", "zoë")],
)
def test_an_id_becomes_text(user_id: Any, expected: str) -> None:
    assert mirrored(user={"id": user_id})["userId"] == expected


# The last one has more digits than Python converts.
NO_IDS: list[Any] = [None, "", "[Filtered]", [], ["u1"], {}, b"u1", math.nan, 2.0**53, 10**5000]


@pytest.mark.parametrize("user", [None, {}, "u1", ["id"], {"email": "jo@shop.example"}], ids=repr)
def test_without_an_id_there_is_no_known_user(user: Any) -> None:
    assert message_for({**EVENT, "user": user}, "Error Captured") is None


@pytest.mark.parametrize("user_id", NO_IDS, ids=lambda value: type(value).__name__)
def test_what_is_not_text_or_a_number_is_no_id(user_id: Any) -> None:
    assert message_for({**EVENT, "user": {"id": user_id}}, "Error Captured") is None


@pytest.mark.parametrize(
    "exception", [None, [], {}, {"values": []}, {"values": None}, "KeyError", 5], ids=repr
)
def test_without_an_exception_value_it_is_no_error(exception: Any) -> None:
    assert message_for({**EVENT, "exception": exception}, "Error Captured") is None


@pytest.mark.parametrize("kind", ["transaction", "feedback"])
def test_a_transaction_and_a_feedback_are_no_errors(kind: str) -> None:
    assert message_for({**EVENT, "type": kind}, "Error Captured") is None


# Single fields


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "error"),
        ("", "error"),
        ("severe", "error"),
        ("debug", "debug"),
        ("critical", "fatal"),
        ("log", "info"),
        (30, "warning"),
        (35, "error"),
        (["info"], "error"),
    ],
)
def test_the_level_is_one_of_sentrys(given: Any, expected: str) -> None:
    assert mirrored(level=given)["properties"]["level"] == expected


@pytest.mark.parametrize(
    "given", [EVENT_ID, EVENT_ID.upper(), "01234567-89ab-cdef-0123-456789abcdef"]
)
def test_the_event_id_is_the_message_id(given: str) -> None:
    message = mirrored(event_id=given)
    assert message["messageId"] == message["properties"]["eventId"] == EVENT_ID


@pytest.mark.parametrize("given", [None, "", "x", "z" * 32, EVENT_ID[1:], 5, [], b"0" * 32])
def test_without_an_event_id_there_is_a_new_one_each_time(given: Any) -> None:
    first, second = mirrored(event_id=given), mirrored(event_id=given)
    assert re.fullmatch("[0-9a-f]{32}", first["messageId"])
    assert first["messageId"] == first["properties"]["eventId"] != second["messageId"]


def test_of_headers_of_one_name_the_last_counts() -> None:
    pairs = [["Referer", "1"], ["REFERER", "2"], ["X-Referer", "3"]]
    assert page(headers=pairs)["referrer"] == "2"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://SHOP.example:443/a/../b c?q#f", "https://shop.example/b%20c"),
        ("/cart?step=2", "/cart"),
        (f"http://shop.example:{'9' * 5000}/", f"http://shop.example:{'9' * 5000}/"),
        (None, ""),
        (5, ""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_url_is_without_query_and_fragment(given: Any, expected: str) -> None:
    assert page(url=given, method="GET")["url"] == expected


@pytest.mark.parametrize(
    ("of_user", "of_request", "expected"),
    [
        ("203.0.113.7", "10.0.0.1", "203.0.113.7"),
        ("{{auto}}", "10.0.0.1", "10.0.0.1"),
        (None, "2001:DB8::1", "2001:DB8::1"),
        ("unknown", "10.0.0.1:80", None),
        (["203.0.113.7"], "fe80::1%eth0", None),
    ],
)
def test_the_ip_is_the_first_that_is_an_address(
    of_user: Any, of_request: Any, expected: str | None
) -> None:
    user = {"id": "u1", "ip_address": of_user}
    message = mirrored(user=user, request={"env": {"REMOTE_ADDR": of_request}})
    assert message["context"].get("ip") == expected


def test_a_message_shares_no_container_with_its_event() -> None:
    class Name(str):
        """Text that may hold on to whatever it likes."""

    event = {
        **EVENT,
        "event_id": Name(EVENT_ID),
        "timestamp": Name("2024-02-03T04:05:06.789012Z"),
        "exception": {"values": [{"type": Name("KeyError")}]},
        "user": {"id": Name("u1"), "ip_address": Name("203.0.113.7")},
        "tags": {"environment": Name("production")},
        "transaction": "/checkout",
        "request": {
            "url": Name("/cart"),
            "method": Name("GET"),
            "query_string": [["a", ["b"]]],
            "headers": [["Referer", Name("x")], ["User-Agent", ["y"]]],
            "env": {"REMOTE_ADDR": "203.0.113.7"},
        },
    }
    theirs = {id(part) for part in contents(event) if isinstance(part, (dict, list))}
    message = message_for(event, "Error Captured")
    assert message is not None
    assert not theirs & {id(part) for part in contents(message)}
    assert {type(part) for part in contents(message)} == {dict, str}
