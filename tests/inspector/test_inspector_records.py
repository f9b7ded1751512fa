"""The inspector's records: kept within bounds, told as JSON, and streamed to those who watch."""

from __future__ import annotations

import json
import threading

import pytest

from inspectors import NOW, Poster, envelope, event, message, stream
from sentry_segment.inspector.server import Inspector
from sentry_segment.inspector.store import Record, Store
from sqlite_spools import wait_until

# Records


def test_records_are_told_as_json_from_a_number_on(inspector: Inspector, app: Poster) -> None:
    hostile = message(text="</script>\u2028\ud800\x00", number=2**64 + 1)
    app.segment(json.dumps(hostile).encode(), headers={"Content-Type": "application/json"})
    app.sentry(envelope(event()))
    answer = app.http.get("/inspector/records")
    [first, second] = answer.json()["records"]
    assert first["payload"] == hostile
    assert (first["number"], first["side"], first["bytes"]) == (
        1,
        "segment",
        len(json.dumps(hostile)),
    )
    assert first["arrived"].endswith("Z")
    assert app.http.get("/inspector/records?after=1").json()["records"] == [second]
    assert app.http.get("/inspector/records?after=2").json() == {"records": []}
    assert app.http.get("/inspector/records?after=" + "9" * 5000).json() == {"records": []}
    assert app.http.get("/inspector/records?after=x").status_code == 400


def test_the_last_10_000_records_are_kept(inspector: Inspector, app: Poster) -> None:
    for start in range(0, 10_050, 2_010):
        app.batch(*({"messageId": str(n)} for n in range(start, start + 2_010)))
    records = inspector.store.records
    assert [record.number for record in records] == list(range(51, 10_051))
    assert records[-1].id == "10049"
    chunks, after = 0, 0
    while page := app.http.get(f"/inspector/records?after={after}").json()["records"]:
        chunks, after = chunks + 1, page[-1]["number"]
    assert (chunks, after) == (10, 10_050)


def test_a_batch_of_any_length_makes_10_000_records_at_the_most(
    inspector: Inspector, app: Poster
) -> None:
    app.segment(b'{"batch":[%s0]}' % (b"0," * 20_000), "batch")
    assert len(inspector.store.records) == 10_000
    assert inspector.store.records[-1].number == 10_000


def test_of_a_batch_no_more_is_looked_at_than_is_kept(inspector: Inspector, app: Poster) -> None:
    """A compressed body of 20 KB may hold millions of messages."""
    beyond = message(properties={"long": "x" * 33_000})
    assert app.batch(*[0] * 9_999, beyond).status_code == 400
    assert app.batch(*[0] * 10_000, beyond).status_code == 200
    assert len(inspector.store.records) == 10_000


def test_records_are_bounded_in_bytes_as_well() -> None:
    store = Store(max_bytes=1_000_000)
    for number in range(100):
        store.add([Record("sentry", "/", 200, 0, id=str(number), text=" " * 98_000)])
    assert [record.id for record in store.records] == [str(n) for n in range(90, 100)]
    store.add([Record("segment", "/", 200, 0, text="ü" * 2_000_000)])
    assert store.records == []


def test_large_records_are_told_in_smaller_chunks(inspector: Inspector) -> None:
    large = Record("sentry", "/", 200, 0, text='"' + "x" * 3_000_000 + '"')
    inspector.store.add([large] * 3)
    with stream(inspector) as events:
        assert [len(next(events)[1]["records"]) for _ in range(3)] == [1, 1, 1]


def test_a_repeat_is_known_as_long_as_the_first_is_kept() -> None:
    store = Store(max_records=2)
    ids = ["a", "a", "b", "c"]
    known = []
    for each in ids:
        store.add([Record("segment", "/", 200, 0, id=each)])
        known.append([name for name in "abc" if store.is_taken(name)])
    assert known == [["a"], ["a"], ["a", "b"], ["b", "c"]]


def test_clearing_forgets_and_numbers_go_on(inspector: Inspector, app: Poster) -> None:
    app.segment(message())
    app.sentry(b'{}\n{"type":"session"}\n{}')
    with stream(inspector) as events:
        assert next(events)[1]["oldest"] == 1
        assert app.http.post("/inspector/clear").status_code == 204
        _, data = next(events)
        assert (data["oldest"], data["records"], data["others"]) == (2, [], {})
        app.segment(message())
        assert [record["number"] for record in next(events)[1]["records"]] == [2]
    assert not inspector.store.records[0].objections[1:]


def test_those_who_listen_are_told_and_those_who_wait_wake(
    inspector: Inspector, app: Poster
) -> None:
    told: list[list[int]] = []
    end = inspector.store.listen(lambda added: told.append([record.number for record in added]))
    waiting = threading.Thread(target=app.batch, args=(message(), message()))
    waiting.start()
    assert inspector.store.wait_for(lambda: len(inspector.store.records) == 2)
    waiting.join()
    end()
    app.segment(message())
    assert told == [[1, 2]]
    assert not inspector.store.wait_for(lambda: False, timeout=0.01)


# The stream


def test_what_arrives_is_streamed(inspector: Inspector, app: Poster) -> None:
    app.segment(message(sentAt=NOW))
    with stream(inspector) as events:
        event_id, data = next(events)
        assert event_id == f"{inspector.store.id}:1"
        assert data["store"] == inspector.store.id
        [record] = data["records"]
        assert json.loads(record["text"]) == message(sentAt=NOW)
        app.sentry(b'{}\n{"type":"transaction"}\n{}\n' + envelope(event())[3:])
        event_id, data = next(events)
        assert [record["side"] for record in data["records"]] == ["sentry"]
        assert data["others"] == {"transaction": 1}


def test_a_stream_goes_on_where_the_page_was(inspector: Inspector, app: Poster) -> None:
    app.batch(*(message(messageId=str(n)) for n in range(5)))
    with stream(inspector) as events:
        event_id, _ = next(events)
    app.segment(message(messageId="5"))
    with stream(inspector, event_id) as events:
        assert [record["id"] for record in next(events)[1]["records"]] == ["5"]


@pytest.mark.parametrize(
    "event_id", ["0123abcd:3", "3", ":", "{id}:-1", "{id}:x", "{id}:", "{id}:" + "9" * 5000]
)
def test_a_stream_of_another_store_starts_again(
    inspector: Inspector, app: Poster, event_id: str
) -> None:
    app.batch(*(message(messageId=str(n)) for n in range(5)))
    with stream(inspector, event_id.format(id=inspector.store.id)) as events:
        assert len(next(events)[1]["records"]) == 5


def test_many_records_come_in_few_events(inspector: Inspector, app: Poster) -> None:
    app.batch(*({"messageId": str(n)} for n in range(5_000)))
    with stream(inspector) as events:
        assert [len(next(events)[1]["records"]) for _ in range(5)] == [1_000] * 5


def test_a_page_that_reads_nothing_holds_nobody_up(inspector: Inspector, app: Poster) -> None:
    """Nor does it take memory for each record: what was dropped meanwhile it never gets."""
    inspector.store._max_records = 100
    with stream(inspector) as events:
        next(events)
        for start in range(0, 9_000, 90):  # 45 MB, more than a connection holds
            app.batch(*({"messageId": str(n), "x": "x" * 5_000} for n in range(start, start + 90)))
        got, event_id = 0, ""
        while not event_id.endswith(":9000"):
            event_id, data = next(events)
            got += len(data["records"])
    assert got < 9_000


def test_stopping_ends_the_streams() -> None:
    inspector = Inspector()
    inspector.start()
    with stream(inspector) as events:
        next(events)
        inspector.stop()
        assert list(events) == []
    inspector.stop()  # a second time does nothing


def test_a_stream_that_is_gone_is_not_told_any_more(inspector: Inspector, app: Poster) -> None:
    with stream(inspector) as events:
        next(events)
        assert len(inspector.store._listeners) == 1
    wait_until(lambda: not inspector.store._listeners)
