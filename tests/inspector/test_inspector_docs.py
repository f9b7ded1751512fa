"""The page of the docs on the inspector says what it does."""

from __future__ import annotations

import sentry_sdk

from pages import BLOCKS, ROOT, rows
from sentry_segment.inspector.bodies import MAX_BODY_BYTES
from sentry_segment.inspector.objections import Objection
from sentry_segment.inspector.server import Inspector
from sentry_segment.inspector.store import MAX_BYTES, MAX_RECORDS
from support import capture

PAGE = ROOT / "docs/inspector.md"
REFUSED = list(Objection)[: list(Objection).index(Objection.REFUSED_TOGETHER) + 1]
ANSWERS = {Objection.NO_WRITE_KEY: "401", Objection.UNREADABLE: "400, 413 or 415"}


def test_the_example_points_an_application_at_it(inspector: Inspector) -> None:
    [code] = [block.text for block in BLOCKS if block.page == PAGE and block.language == "python"]
    here = inspector.url.removeprefix("http://")
    exec(compile(code.replace("127.0.0.1:8010", here), "example", "exec"), {})
    event_id = capture(id="1906")
    sentry_sdk.flush()
    assert [record.id for record in inspector.store.records] == [event_id] * 2
    assert {record.side for record in inspector.store.records} == {"sentry", "segment"}


def test_the_objections_are_those_of_the_code() -> None:
    shown = [tuple(row) for row in rows("docs/inspector.md", "it says")]
    assert shown == [
        (
            objection.value.replace("{}", "…"),
            {"drops": "drops it", "changes": "changes it", "advice": ""}[objection.rank],
            ANSWERS.get(objection, "400") if objection in REFUSED else "200",
        )
        for objection in Objection
    ]


def test_the_limits_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    assert f"the last {MAX_RECORDS:,} records" in text
    assert f"no more than {MAX_BYTES // 1_000_000} MB" in text
    assert f"more than {MAX_BODY_BYTES // 1_000_000} MB" in text
