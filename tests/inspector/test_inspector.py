"""The inspector takes what Sentry and Segment take, and shows it."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest
import sentry_sdk

from inspectors import NOW, Poster, envelope, event, message
from sentry_segment import SegmentIntegration
from sentry_segment.inspector.server import Inspector
from sentry_segment.inspector.store import Record
from support import WRITE_KEY, capture, many


def point_at(inspector: Inspector, **options: Any) -> None:
    integration = SegmentIntegration(write_key=WRITE_KEY, host=inspector.url, **options)
    sentry_sdk.init(dsn=inspector.dsn, integrations=[integration], traces_sample_rate=1.0)


def of(inspector: Inspector, side: str) -> list[Record]:
    return [record for record in inspector.store.records if record.side == side]


# With the real SDK


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_both_sides_of_an_error_arrive_and_have_one_id(
    inspector: Inspector, compressed: bool
) -> None:
    point_at(inspector, gzip=compressed)
    event_id = capture(KeyError("address"), id="1906")
    sentry_sdk.flush()
    [sentry], [segment] = of(inspector, "sentry"), of(inspector, "segment")
    assert sentry.id == segment.id == event_id
    assert (sentry.summary["value"], segment.payload["userId"]) == ("'address'", "1906")
    assert sentry.summary["title"] == segment.summary["title"] == "KeyError"
    assert (segment.status, segment.objections, segment.write_key) == (200, (), "…cdef")
    assert "why_not" not in sentry.summary


def test_what_the_integration_sends_in_a_batch_brings_no_objection(inspector: Inspector) -> None:
    point_at(inspector, rate_limit=(1, 0.2))
    for number in range(30):
        capture(ValueError(number))
    sentry_sdk.flush(timeout=10.0)
    assert inspector.store.wait_for(lambda: len(of(inspector, "segment")) == 30)
    assert "/v1/batch" in {record.path for record in of(inspector, "segment")}
    assert {record.objections for record in inspector.store.records} == {()}


def test_a_burst_is_complete_on_both_sides(inspector: Inspector) -> None:
    """Were each answer held up, Sentry's SDK would give up what its flush has not sent in time."""
    number = many(2_000)
    integration = SegmentIntegration(write_key=WRITE_KEY, host=inspector.url)
    sentry_sdk.init(dsn=inspector.dsn, integrations=[integration], transport_queue_size=number + 1)
    sent = [capture(id=str(each)) for each in range(number)]
    sentry_sdk.flush(timeout=120.0)
    for side in ("sentry", "segment"):
        assert sorted(sent) == sorted(str(record.id) for record in of(inspector, side))


def test_its_answers_do_not_wait_for_delayed_acknowledgements(
    inspector: Inspector, app: Poster
) -> None:
    """Some 40 ms each: the head of an answer goes out before its body."""
    assert app.segment(message()).is_success
    assert inspector._server is not None
    [connection] = inspector._server.server_state.connections  # kept alive
    transport: Any = connection.transport
    accepted = transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_it_says_why_an_event_is_not_mirrored(inspector: Inspector) -> None:
    point_at(inspector)
    capture(user={"email": "a@example.org"})
    sentry_sdk.set_user({"id": "1906"})
    sentry_sdk.capture_message("Half past nine")
    sentry_sdk.flush()
    assert not of(inspector, "segment")
    assert {record.summary.get("why_not") for record in of(inspector, "sentry")} == {
        "no user id",
        "no exception",
    }
    assert "Half past nine" in {record.summary["title"] for record in inspector.store.records}


def test_its_own_requests_are_not_reported_where_it_runs_in_the_application(
    inspector: Inspector,
) -> None:
    """The SDK's Starlette integration would report each to it, and that again."""
    point_at(inspector)
    with sentry_sdk.start_transaction(name="one"):
        pass
    sentry_sdk.flush()
    for _ in range(3):
        httpx.get(inspector.url, trust_env=False)
    sentry_sdk.flush()
    assert inspector.store.others == {"transaction": 1}


# Sentry's side


def test_what_is_no_event_is_counted_alone(inspector: Inspector, app: Poster) -> None:
    lines = [
        b"{}",
        b'{"type":"transaction","length":2}',
        b"{}",
        b'{"type":"evil"}',
        b"\xff",
        b"",
        b"",
    ]
    answer = app.sentry(b"\n".join(lines) + envelope(event())[3:])
    assert answer.json() == {"id": event()["event_id"]}
    assert inspector.store.others == {"transaction": 1, "other": 1}
    assert [record.payload for record in inspector.store.records] == [event()]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "Expecting value"),
        (b"[]", "it has no header"),
        (b"{}\n[]\n", "has no type"),
        (b'{}\n{"type":4}\n{}', "has no type"),
        (b"{}\nevent", "Expecting value"),
        (b'{}\n{"type":"event"}\n[]', "an event in it is no JSON object"),
        (b'{}\n{"type":"event","length":2}\n{}}', "longer than its length"),
        (b'{}\n{"type":"event","length":20}\n{}', "shorter than the length"),
        (b'{}\n{"type":"event","length":-1}\n{}', "is no number"),
        (b'{}\n{"type":"event","length":"2"}\n{}', "is no number"),
        (b'{}\n{"type":"event"}\n' + b'{"a":' * 101 + b"0" + b"}" * 101, "nested too deeply"),
        (b"\xff", "decode"),
    ],
    ids=range(12),
)
def test_what_is_no_envelope_is_refused_and_shown(
    inspector: Inspector, app: Poster, body: bytes, why: str
) -> None:
    answer = app.sentry(body)
    [record] = inspector.store.records
    assert (answer.status_code, record.status, record.side) == (400, 400, "sentry")
    assert answer.json() == {"detail": record.objections[0]}
    assert why in record.objections[0]


@pytest.mark.parametrize("event_id", [None, "", 7, "not-an-id", ["x"], "0" * 200], ids=str)
def test_an_event_with_an_odd_id_is_shown(inspector: Inspector, app: Poster, event_id: Any) -> None:
    assert app.sentry(envelope(event(event_id=event_id))).is_success
    [record] = inspector.store.records
    assert record.id == (str(event_id)[:100] if event_id else None)


def test_a_dash_makes_no_difference_to_an_id(inspector: Inspector, app: Poster) -> None:
    app.sentry(envelope(event(event_id="01234567-89ab-cdef-0123-456789ABCDEF")))
    assert inspector.store.records[0].id == message()["messageId"]


# The write key


@pytest.mark.parametrize("field", ["writeKey", "write_key"])
def test_the_write_key_is_nowhere_to_be_found(
    inspector: Inspector, app: Poster, field: str
) -> None:
    app.segment(message(**{field: WRITE_KEY}), auth=None)
    app.segment(message(**{field: WRITE_KEY}))
    app.batch(message(**{field: WRITE_KEY}), **{field: WRITE_KEY})
    app.segment(b"{", headers={"Authorization": "Basic d2tfMDEyMzQ1Njc4OV9hYmNkZWY6"})
    shown = app.http.get("/inspector/records").text + repr(inspector.store.records)
    assert WRITE_KEY not in shown
    assert shown.count("…cdef") >= 3


def test_a_write_key_in_the_body_is_one(inspector: Inspector, app: Poster) -> None:
    assert app.segment(message(sentAt=NOW, writeKey=WRITE_KEY), auth=None).is_success
    assert inspector.store.records[0].write_key == "…cdef"
