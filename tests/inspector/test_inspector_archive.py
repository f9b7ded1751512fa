"""What has arrived is exported to a file, and imported again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inspectors import NOW, Poster, envelope, event, message
from sentry_segment.inspector import app as application
from sentry_segment.inspector.archive import FORMAT
from sentry_segment.inspector.server import Inspector
from support import WRITE_KEY


def test_what_was_exported_is_imported_as_it_was(inspector: Inspector, app: Poster) -> None:
    app.sentry(envelope(event(), event(event_id="1" * 32, user={})))
    app.segment(message(sentAt=NOW, text="\ud800", big=2**64 + 1))
    app.batch(message(messageId="b", userId=None), {"type": "page", "messageId": "p"})
    app.segment(message(messageId="t", userId=7), "t")
    app.segment(b"{", auth=None)
    exported = app.http.get("/inspector/export")
    assert "attachment" in exported.headers["Content-Disposition"]
    assert WRITE_KEY not in exported.text
    before = [record.head() for record in inspector.store.records]
    texts = [record.payload for record in inspector.store.records]
    with Inspector() as other, Poster(other.url) as importing:
        answer = importing.http.post("/inspector/import", content=exported.content)
        assert answer.json() == {"imported": len(before)}
        assert [record.head() for record in other.store.records] == before
        assert [record.payload for record in other.store.records] == texts


def record(**changes: Any) -> dict[str, Any]:
    return {
        "side": "segment",
        "path": "/v1/track",
        "status": 200,
        "bytes": 2,
        "id": "a",
        "write_key": WRITE_KEY,
        "arrived": "yesterday",
        "objections": [],
        "payload": {},
        **changes,
    }


def test_a_file_made_by_hand_leaves_no_key_and_no_odd_time(
    inspector: Inspector, app: Poster
) -> None:
    records = [record(), record(side="sentry", payload=None), record(side="sentry", payload=[])]
    content = json.dumps({"format": FORMAT, "records": records}).encode()
    assert app.http.post("/inspector/import", content=content).json() == {"imported": 3}
    assert inspector.store.records[0].write_key == "…cdef"
    assert inspector.store.records[0].arrived.endswith("Z")
    assert {tuple(each.summary) for each in inspector.store.records[1:]} == {()}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "not exported by an inspector"),
        ({"format": "other", "records": []}, "not exported by an inspector"),
        ({"format": FORMAT}, "it has no records"),
        ({"format": FORMAT, "records": [7]}, "a record in it is wrong"),
        ({"format": FORMAT, "records": [{}]}, "a record in it is wrong: KeyError('payload')"),
        ({"format": FORMAT, "records": [record(side="x")]}, "side is 'x'"),
        ({"format": FORMAT, "records": [record(status="x")]}, "a record in it is wrong"),
        (
            {"format": FORMAT, "records": [record(objections=[{"text": "", "rank": 1}])]},
            "rank is 1",
        ),
        ({"format": FORMAT, "records": [record(payload=float("nan"))]}, "NaN is no JSON"),
    ],
    ids=range(11),
)
def test_another_file_is_refused_and_says_why(
    inspector: Inspector, app: Poster, content: Any, why: str
) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    answer = app.http.post("/inspector/import", content=body)
    assert answer.status_code == 400
    assert why in answer.json()["detail"]
    assert inspector.store.records == []


def test_a_file_beyond_all_bounds_is_read_no_further(
    app: Poster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "MAX_FILE_BYTES", 1_000_000)
    answer = app.http.post("/inspector/import", content=bytes(1_000_001))
    assert (answer.status_code, answer.json()["detail"]) == (413, "it has more than 1 MB")
