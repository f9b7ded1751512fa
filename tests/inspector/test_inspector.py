"""The inspector takes what Sentry and Segment take, and shows it."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import threading
import tracemalloc
import zlib
from typing import Any

import httpx
import pytest
import sentry_sdk

from inspectors import NOW, Poster, envelope, event, message, stream
from sentry_segment import SegmentIntegration
from sentry_segment.inspector import bodies
from sentry_segment.inspector.server import Inspector
from sentry_segment.inspector.store import Record, Store
from sqlite_spools import wait_until
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


# Bodies


def deflated(body: bytes) -> bytes:
    return zlib.compress(body)


def deflated_bare(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


COMPRESSED = [
    ("gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("deflate", deflated),
    ("deflate", deflated_bare),
    ("identity", bytes),
]


@pytest.mark.parametrize(("encoding", "compress"), COMPRESSED, ids=range(len(COMPRESSED)))
def test_compressed_bodies_are_read(
    inspector: Inspector, app: Poster, encoding: str, compress: Any
) -> None:
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    body = json.dumps(message(sentAt=NOW)).encode()
    assert app.segment(compress(body), headers=headers).is_success
    assert app.sentry(compress(envelope(event())), content_encoding=encoding).is_success
    assert [record.objections for record in inspector.store.records] == [(), ()]


@pytest.mark.parametrize(
    ("encoding", "body", "status", "why"),
    [
        ("gzip", b"plain", 400, "not compressed with gzip"),
        ("gzip", gzip.compress(b"{}")[:-9], 400, "not compressed with gzip"),
        ("deflate", b"plain", 400, "not compressed with deflate"),
        ("zstd", b"", 415, "Content-Encoding is zstd"),
        ("gzip", gzip.compress(bytes(bodies.MAX_BODY_BYTES + 1)), 413, "more than 20 MB"),
    ],
    ids=range(5),
)
def test_bodies_that_cant_be_read_are_refused_and_shown(
    inspector: Inspector, app: Poster, encoding: str, body: bytes, status: int, why: str
) -> None:
    assert app.segment(body, headers={"Content-Encoding": encoding}).status_code == status
    assert app.sentry(body, content_encoding=encoding).status_code == status
    for record in inspector.store.records:
        assert record.status == status
        assert why in record.objections[0]
        assert record.payload is None


def test_no_more_is_decompressed_than_is_read() -> None:
    """200 MB, in 200 kB."""
    compressor = zlib.compressobj(wbits=31)
    body = b"".join(compressor.compress(bytes(1_000_000)) for _ in range(200)) + compressor.flush()
    tracemalloc.start()
    with pytest.raises(bodies.BodyError):
        bodies.decompress(body, "gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000_000


def test_a_body_over_20_mb_is_read_no_further(inspector: Inspector, app: Poster) -> None:
    assert app.segment(bytes(bodies.MAX_BODY_BYTES + 1)).status_code == 413
    assert "20 MB" in inspector.store.records[0].objections[0]


class Brotli:
    """In the place of the module: each byte stands for as many zeros."""

    class error(Exception):  # noqa: N801, N818 - the module's own name
        pass

    class Decompressor:
        def __init__(self) -> None:
            self.last = 0

        def process(self, data: bytes) -> bytes:
            if b"!" in data:
                raise Brotli.error
            self.last = data[-1]
            return data if max(data) < 200 else bytes(1_000_000)

        def is_finished(self) -> bool:
            return self.last == ord("}")


def test_brotli_is_read_where_the_module_is_there(
    inspector: Inspector, app: Poster, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Content-Encoding": "br"}
    monkeypatch.setitem(sys.modules, "brotli", None)
    assert app.segment(b"{}", headers=headers).status_code == 415
    monkeypatch.setitem(sys.modules, "brotli", Brotli)
    assert app.segment(b"{}", headers=headers).is_success
    assert app.segment(b"{!}", headers=headers).status_code == 400
    assert app.segment(b"{", headers=headers).status_code == 400
    assert app.segment(b"\xff" * 64 * 21, headers=headers).status_code == 413


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
