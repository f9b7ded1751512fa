"""The queries of the docs, run on a warehouse made of the integration's own messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import duckdb
import pytest
import sentry_sdk

from collector import Collector
from pages import BLOCKS, Block, rows
from sentry_segment import set_anonymous_id
from support import Init
from warehouse import create_table, row

# User, time in November 2026, exception, transaction, release.
ERRORS = [
    ("1906", "02T10:00", "KeyError", "cart", "shop@1.4.2"),
    ("1906", "03T09:00", "PaymentError", "checkout", "shop@1.4.2"),
    ("1906", "03T09:05", "PaymentError", "checkout", "shop@1.4.2"),
    ("1907", "03T12:00", "PaymentError", "checkout", "shop@1.4.2"),
    ("1907", "20T12:00", "TypeError", "search", "shop@1.5.0"),
    ("1908", "20T13:00", "PaymentError", "checkout", "shop@1.5.0"),
    ("1908", "20T13:01", "TypeError", "search", "shop@1.5.0"),
    ("1908", "21T08:00", "KeyError", "search", "shop@1.5.0"),
]
USERS = [
    ("1906", "ann@shop.example", "enterprise"),
    ("1907", "bob@shop.example", "free"),
    ("1908", "cem@shop.example", "enterprise"),
    ("1909", "dot@shop.example", "enterprise"),
    ("1910", "eve@shop.example", "free"),
]
# 1906 cancels hours after an error, 1907 more than a week after the last; 1909 met none.
CANCELLED = [("1906", "03T15:00"), ("1907", "19T15:00"), ("1909", "05T15:00")]
# 1907 buys within a day of the error at the checkout, 1908 later, 1906 before.
ORDERED = [
    ("1906", "03T08:00"),
    ("1907", "03T20:00"),
    ("1910", "03T20:00"),
    ("1908", "22T20:00"),
    ("1910", "22T21:00"),
]

ANSWERS: dict[str, list[tuple[Any, ...]]] = {
    "Running both and comparing": [(2, 7, 1)],
    "Which errors did users hit before they cancelled?": [
        ("KeyError", "cart", 1),
        ("PaymentError", "checkout", 1),
    ],
    "Do users with errors cancel more often?": [(1, 3, 2, 66.7), (0, 2, 1, 50.0)],
    "Which errors meet the most people?": [
        ("PaymentError", "checkout", 3, 4, datetime(2026, 11, 20, 13, 0)),
        ("TypeError", "search", 2, 2, datetime(2026, 11, 20, 13, 1)),
        ("KeyError", "cart", 1, 1, datetime(2026, 11, 2, 10, 0)),
        ("KeyError", "search", 1, 1, datetime(2026, 11, 21, 8, 0)),
    ],
    "Which customers of a plan met errors?": [
        ("1906", "ann@shop.example", 3, 2),
        ("1908", "cem@shop.example", 3, 3),
    ],
    "What did this user meet?": [
        (datetime(2026, 11, 2, 10, 0), "KeyError", "cart"),
        (datetime(2026, 11, 3, 9, 0), "PaymentError", "checkout"),
        (datetime(2026, 11, 3, 9, 5), "PaymentError", "checkout"),
    ],
    "Who failed at the checkout, and bought in the end?": [(3, 1)],
    "What did a release bring?": [
        ("TypeError", "search", 2, datetime(2026, 11, 20, 12, 0)),
        ("KeyError", "search", 1, datetime(2026, 11, 21, 8, 0)),
    ],
    "What share of a day's buyers met an error?": [
        (datetime(2026, 11, 3).date(), 3, 2),
        (datetime(2026, 11, 22).date(), 2, 0),
    ],
}
QUERIES = [block for block in BLOCKS if block.language == "sql"]


def time_of(text: str) -> str:
    return f"2026-11-{text}:00.000000Z"


@pytest.fixture
def messages(collector: Collector, init: Init) -> list[dict[str, Any]]:
    """What the integration sends for the errors, each with its request's `sentAt`."""
    segment = {"anonymous": True, "sentry_url": "https://acme.sentry.io"}
    init(environment="production", segment=segment)
    set_anonymous_id("8b1c7a1e-visitor")
    for user, time, exception, transaction, release in ERRORS:
        event: Any = {
            "timestamp": time_of(time),
            "exception": {"values": [{"type": exception}]},
            "user": {"id": user},
            "transaction": transaction,
            "release": release,
            "request": {
                "url": f"https://shop.example/{transaction}",
                "method": "POST",
                "query_string": "express=1",
                "env": {"REMOTE_ADDR": "198.51.100.6"},
                "headers": {"User-Agent": "Mozilla/5.0", "Referer": "https://shop.example/"},
            },
        }
        sentry_sdk.capture_event(event)
    collector.wait_for_messages(len(ERRORS))
    return [
        {**message, "sentAt": call.json["sentAt"]}
        for call in collector.calls
        for message in call.messages
    ]


@pytest.fixture
def warehouse(messages: list[dict[str, Any]]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as database:
        errors = [row(message, received_at=message["timestamp"]) for message in messages]
        create_table(database, "backend.error_captured", errors)
        # Sentry refused one, and had two of a browser.
        others = [{"event_id": event_id * 32} for event_id in "ab"]
        forwarded = [{"event_id": error["event_id"]} for error in errors[1:]]
        create_table(database, "forwarded.error_captured", forwarded + others)
        users = [{"id": user, "email": email, "plan": plan} for user, email, plan in USERS]
        create_table(database, "web.users", users)
        for table, happened in (
            ("subscription_cancelled", CANCELLED),
            ("order_completed", ORDERED),
        ):
            events = [{"user_id": user, "timestamp": time_of(time)} for user, time in happened]
            create_table(database, f"web.{table}", events)
        yield database


def test_every_query_has_an_answer_to_be_held_against() -> None:
    assert [query.heading for query in QUERIES] == list(ANSWERS)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.heading)
def test_a_query_answers_its_question(query: Block, warehouse: duckdb.DuckDBPyConnection) -> None:
    expected = ANSWERS[query.heading]
    answer = warehouse.execute(query.text).fetchall()
    assert [found[: len(expected[0])] for found in answer] == expected


def test_a_users_errors_come_with_what_finds_them_in_sentry(
    warehouse: duckdb.DuckDBPyConnection, messages: list[dict[str, Any]]
) -> None:
    [query] = [query for query in QUERIES if query.heading == "What did this user meet?"]
    answer = warehouse.execute(query.text).fetchall()
    assert [found[3:] for found in answer] == [
        (
            message["context"]["page"]["url"],
            "shop@1.4.2",
            message["properties"]["eventId"],
        )
        for message in messages[:3]
    ]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.heading)
def test_the_form_of_intervals_in_bigquery_means_the_same(
    query: Block, warehouse: duckdb.DuckDBPyConnection
) -> None:
    rewritten = re.sub(r"INTERVAL '(\d+) (day)s?'", r"INTERVAL \1 DAY", query.text)
    assert "INTERVAL '" not in rewritten
    answers = [warehouse.execute(text).fetchall() for text in (query.text, rewritten)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.heading)
def test_the_timestamp_is_always_written_with_its_table(query: Block) -> None:
    assert not re.search(r"(?<![\w.])timestamp\b", query.text)


def test_the_columns_are_those_that_a_message_makes(messages: list[dict[str, Any]]) -> None:
    shown = [
        name
        for columns, *_ in rows("docs/queries.md", "column")
        for name in re.findall(r"`(\w+)`", columns)
    ]
    made = row(messages[0], received_at="")
    assert sorted(shown) == sorted(made)
