"""Where the fields of a message come from, as the inspector says."""

from __future__ import annotations

from typing import Any

import pytest

from inspectors import Poster, envelope, event, message
from sentry_segment.inspector.origins import ORIGINS, fields
from sentry_segment.inspector.server import Inspector
from sentry_segment.mapping.fields import FIELDS
from sentry_segment.mapping.message import parts, track_message

REQUEST = {
    "url": "https://Shop.example:443/checkout?x=1",
    "method": "post",
    "query_string": "express=1&password=hunter2",
    "headers": [["USER-AGENT", "Mozilla/5.0"], ["Referer", "https://shop.example/cart"]],
    "env": {"REMOTE_ADDR": "198.51.100.6"},
}


def explained(**changes: Any) -> dict[str, tuple[str, str]]:
    """Origin and note of each field of the message for an event."""
    given = event(request=REQUEST, level="critical", transaction=" /checkout", **changes)
    found = parts(given, "Error Captured")
    assert found is not None
    sent: Any = track_message(found)
    return {each["name"]: (each["origin"], each["note"]) for each in fields(sent, given)}


def test_every_field_of_a_message_has_an_origin() -> None:
    assert set(explained(user={"id": 1})) <= set(ORIGINS)
    assert {row.path for row in FIELDS.rows} <= set(ORIGINS)


@pytest.mark.parametrize(
    ("name", "origin", "note"),
    [
        ("messageId", "event_id", ""),
        ("userId", "user.id", "normalised"),
        ("event", "the option event_name", ""),
        ("properties.transaction", "transaction", "normalised"),
        ("properties.release", "release", ""),
        ("properties.level", "level", "normalised"),
        ("properties.environment", "tags.environment", ""),
        ("properties.exceptionType", "exception.values[0].type", ""),
        ("context.ip", "request.env.REMOTE_ADDR", ""),
        ("context.userAgent", "request.headers.User-Agent", ""),
        ("context.page.url", "request.url", "normalised"),
        ("context.page.method", "request.method", "normalised"),
        ("context.page.search", "request.query_string", "filtered"),
        ("context.page.referrer", "request.headers.Referer", ""),
    ],
)
def test_a_field_says_what_became_of_it(name: str, origin: str, note: str) -> None:
    found = explained(user={"id": 1906}, tags=[["environment", "staging"]])
    assert found[name] == (origin, note)


def test_what_was_filled_in_cut_or_edited_is_said() -> None:
    long = "x" * 100
    given = event(transaction=long, level=None, exception={"values": [{"type": "KeyError"}]})
    sent = message(
        properties={
            "transaction": long[:40] + "...",
            "level": "error",
            "exceptionType": "Edited",
            "ours": 1,
        }
    )
    notes = {each["name"]: each["note"] for each in fields(sent, given)}
    assert notes["properties.transaction"] == "cut"
    assert notes["properties.level"] == "filled in"
    assert notes["properties.exceptionType"] == "edited"
    [ours] = [each for each in fields(sent, given) if each["name"] == "properties.ours"]
    assert ours["origin"].startswith("not of the mirror")


@pytest.mark.parametrize(
    "odd",
    [
        {"user": None, "exception": None},
        {"request": "none", "tags": 7, "exception": "x"},
        {"request": {"headers": 7, "env": []}, "exception": ["KeyError"]},
    ],
    ids=range(3),
)
def test_an_odd_event_has_origins_too(odd: dict[str, Any]) -> None:
    sent = message(context={"userAgent": "x", "page": {"url": "", "search": ""}, "ip": "x"})
    assert len(fields(sent, event(**odd))) == 10


def test_the_origins_are_told_as_json(inspector: Inspector, app: Poster) -> None:
    app.segment(message())
    app.sentry(envelope(event()))
    answer = app.http.get("/inspector/fields?message=1&event=2")
    assert {"messageId", "userId"} <= {each["name"] for each in answer.json()["fields"]}
    for query in ("", "?message=1", "?message=1&event=3", "?message=x&event=2"):
        assert app.http.get(f"/inspector/fields{query}").status_code == 404
    app.segment(b"{")
    assert app.http.get("/inspector/fields?message=3&event=2").json() == {"fields": []}
