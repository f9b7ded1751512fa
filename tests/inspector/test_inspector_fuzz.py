"""Whatever arrives is answered, and can be shown."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspectors import event, message
from sentry_segment.inspector import envelope, segment
from sentry_segment.inspector.store import Record
from support import WRITE_KEY

NOW = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)

TEXTS = st.text() | st.sampled_from(["", "[Filtered]", "2024-03-01T12:00:00Z", "track", "\ud800"])
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | FLOATS | TEXTS
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=10
)


def like(example: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The example, with anything in the place of some of its fields."""
    changes = st.fixed_dictionaries({}, optional=dict.fromkeys(example, ANYTHING))
    return changes.map(lambda changed: {**example, **changed})


fuzz = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def check(records: list[Record]) -> None:
    assert records
    for record in records:
        assert json.loads(json.dumps(record.head()))["bytes"] == record.bytes
        assert record.summary.get("why_not") in (None, "no user id", "no exception")
        assert WRITE_KEY not in repr(record)
        record.payload  # noqa: B018 - can be read


@fuzz
@given(ANYTHING | like({**message(), "sentAt": "", "writeKey": WRITE_KEY, "batch": []}))
@pytest.mark.parametrize("path", ["track", "identify", "batch"])
def test_any_json_sent_to_segment_is_answered(path: str, content: Any) -> None:
    body = json.dumps(content).encode()
    status, records = segment.take(path, {}, body, NOW, lambda _: False)
    assert status in (200, 400, 401)
    check(records)


@fuzz
@given(st.lists(like(message()), min_size=1, max_size=3))
def test_any_batch_is_answered(batch: list[Any]) -> None:
    body = json.dumps({"batch": batch, "writeKey": WRITE_KEY}).encode()
    status, records = segment.take("batch", {}, body, NOW, lambda _: False)
    assert (status, len(records)) == (200, len(batch))
    check(records)


@fuzz
@given(like(event()))
def test_any_event_is_answered(content: dict[str, Any]) -> None:
    body = b'{}\n{"type":"event"}\n' + json.dumps(content).encode()
    status, records, _ = envelope.take("/", {}, body)
    assert status == 200
    check(records)


@fuzz
@given(st.binary(), st.sampled_from(["", "gzip", "deflate", "br"]))
def test_any_bytes_are_answered(body: bytes, encoding: str) -> None:
    headers = {"content-encoding": encoding, "authorization": "Basic " + encoding}
    status, records = segment.take("track", headers, body, NOW, lambda _: False)
    assert status in (200, 400, 401, 415)
    check(records)
    status, records, others = envelope.take("/", headers, body)
    assert status in (200, 400, 415)
    assert records or others or status == 200
