"""Errors of visitors: by whose anonymous id they are sent, and that no id crosses to another."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.scope import Scope, isolation_scope, use_isolation_scope
from sentry_sdk.scrubber import EventScrubber

from collector import Collector
from sentry_segment import set_anonymous_id
from support import Init, capture, logged

ID = "8b1c7a1e-52d1-4a0b-9f6c-0d6f6a3f2c11"
COOKIE = "ajs_anonymous_id"
NOBODY = {"username": "visitor"}


@pytest.fixture
def mirrored(collector: Collector, init: Init) -> Callable[..., dict[str, tuple[Any, Any]]]:
    """`mirrored(n)`: user id and anonymous id of so many messages, by their event."""
    # The default one filters the header, which an application may want otherwise.
    init(segment={"anonymous": True}, event_scrubber=EventScrubber(denylist=[]))

    def wait(number: int) -> dict[str, tuple[Any, Any]]:
        sentry_sdk.flush(10.0)
        messages = collector.wait_for_messages(number)
        assert len(messages) == number
        return {m["messageId"]: (m.get("userId"), m.get("anonymousId")) for m in messages}

    return wait


def visit(anonymous_id: str | None) -> str:
    set_anonymous_id(anonymous_id)
    return capture(user=NOBODY)


def request(**fields: Any) -> Any:
    exception = {"values": [{"type": "KeyError", "value": "x"}]}
    return {"exception": exception, "request": {"url": "https://shop.example/", **fields}}


def test_without_the_option_nothing_changes(collector: Collector, init: Init) -> None:
    init(send_default_pii=True)
    set_anonymous_id(ID)
    capture(user=NOBODY)
    known = capture(user={"id": "1906"})
    sentry_sdk.capture_event(request(cookies={COOKIE: ID}))
    sentry_sdk.flush(10.0)
    [message] = collector.messages
    assert message["messageId"] == known
    assert "anonymousId" not in message


def test_a_visitor_has_an_anonymous_id_and_a_user_who_is_logged_in_has_both(
    mirrored: Callable[..., Any],
) -> None:
    set_anonymous_id(ID)
    visitor, known = capture(user=NOBODY), capture(user={"id": "1906"})
    unknown_id, filtered = (
        capture(user={"email": "jo@shop.example"}),
        capture(user={"id": "[Filtered]"}),
    )
    assert mirrored(4) == {
        visitor: (None, ID),
        known: ("1906", ID),
        unknown_id: (None, ID),
        filtered: (None, ID),
    }


def test_who_has_neither_is_not_mirrored(mirrored: Callable[..., Any]) -> None:
    capture(user=NOBODY)
    known = capture(user={"id": "1906"})
    assert mirrored(1) == {known: ("1906", None)}


def test_sentrys_event_is_the_same(collector: Collector, init: Init) -> None:
    init(segment={"anonymous": True})
    before, since = capture(user=NOBODY), visit(ID)
    sentry_sdk.flush(10.0)
    collector.wait_for_messages(1)
    events = {event["event_id"]: event for event in collector.events}
    assert set(events[before]) == set(events[since])
    assert ID not in str(events[since])


def test_the_cookie_in_the_events_request_is_read_and_the_scopes_id_comes_first(
    mirrored: Callable[..., Any],
) -> None:
    from_cookie = sentry_sdk.capture_event(request(cookies={COOKIE: f"%22{ID}%22"}))
    from_header = sentry_sdk.capture_event(request(headers={"Cookie": f"a=b; {COOKIE}={ID}"}))
    sentry_sdk.capture_event(request(cookies={COOKIE: "[Filtered]"}))
    set_anonymous_id("of-the-scope")
    from_scope = sentry_sdk.capture_event(request(cookies={COOKIE: ID}))
    assert mirrored(3) == {
        from_cookie: (None, ID),
        from_header: (None, ID),
        from_scope: (None, "of-the-scope"),
    }


def test_it_holds_for_the_isolation_scope_and_those_forked_from_it(
    mirrored: Callable[..., Any],
) -> None:
    expected = {visit("outer"): (None, "outer")}
    with isolation_scope():
        expected[capture(user=NOBODY)] = (None, "outer")
        expected[visit("inner")] = (None, "inner")
        with sentry_sdk.new_scope():
            expected[capture(user=NOBODY)] = (None, "inner")
        with isolation_scope():
            set_anonymous_id(None)
            capture(user=NOBODY)
        expected[capture(user=NOBODY)] = (None, "inner")
    expected[capture(user=NOBODY)] = (None, "outer")
    set_anonymous_id(None)
    capture(user=NOBODY)
    assert mirrored(6) == expected


def test_a_scope_that_was_forked_keeps_the_id_when_the_other_gets_a_new_one(
    mirrored: Callable[..., Any],
) -> None:
    set_anonymous_id("first")
    forked = Scope.get_isolation_scope().fork()
    second = visit("second")
    with use_isolation_scope(forked):
        first = capture(user=NOBODY)
    assert mirrored(2) == {second: (None, "second"), first: (None, "first")}


def test_set_again_and_again_it_keeps_the_applications_event_processors(
    mirrored: Callable[..., Any],
) -> None:
    def name(event: Any, hint: Any) -> Any:
        return {**event, "user": {"id": "of-a-processor"}}

    Scope.get_isolation_scope().add_event_processor(name)
    for number in range(100):
        set_anonymous_id(str(number))
    assert mirrored_of(capture(user=NOBODY), mirrored) == ("of-a-processor", "99")


def mirrored_of(event_id: str, mirrored: Callable[..., Any]) -> tuple[Any, Any]:
    found: tuple[Any, Any] = mirrored(1)[event_id]
    return found


def test_nothing_crosses_in_threads_pools_and_tasks(mirrored: Callable[..., Any]) -> None:
    expected: dict[str, tuple[Any, Any]] = {}
    lock, barrier = threading.Lock(), threading.Barrier(4, timeout=60.0)

    def in_a_request(number: int, wait: Callable[[], object] = barrier.wait) -> None:
        with isolation_scope():
            if number % 2:
                set_anonymous_id(f"visitor-{number}")
            wait()
            event_id = capture(user=NOBODY)
            with lock:
                if number % 2:
                    expected[event_id] = (None, f"visitor-{number}")
            if number % 3 == 0:
                raise ValueError("in the midst of it")

    async def in_a_task(number: int) -> None:
        with isolation_scope():
            if number % 2:
                set_anonymous_id(f"visitor-{number}")
            await asyncio.sleep(0)
            event_id = capture(user=NOBODY)
            if number % 2:
                expected[event_id] = (None, f"visitor-{number}")

    async def tasks() -> None:
        await asyncio.gather(*map(in_a_task, range(100, 120)))

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(in_a_request, number) for number in range(20)]
    failed = [isinstance(each.exception(), ValueError) for each in done]
    assert failed == [number % 3 == 0 for number in range(20)]
    asyncio.run(tasks())
    contextvars.copy_context().run(in_a_request, 301, lambda: None)
    capture(user=NOBODY)  # of nobody
    assert mirrored(21) == expected


def test_an_event_of_a_client_itself_has_no_ones_id(mirrored: Callable[..., Any]) -> None:
    visit_id = visit(ID)
    sentry_sdk.get_client().capture_event(request(), {})
    assert mirrored(1) == {visit_id: (None, ID)}


@pytest.mark.parametrize("wrong", ["", "a" * 256, "a\nb", 'a"b', "null", 5, b"id", ["id"]])
def test_what_can_be_no_id_is_none_with_a_line_in_the_log(
    mirrored: Callable[..., Any],
    wrong: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sentry_segment.sdk.visitor._log._said", {})
    set_anonymous_id("earlier")
    set_anonymous_id(wrong)
    capture(user=NOBODY)
    known = capture(user={"id": "1906"})
    assert mirrored(1) == {known: ("1906", None)}
    assert "set_anonymous_id: expected a text of 1 to 255 characters" in logged(caplog)
    assert "a" * 256 not in logged(caplog)


def test_the_hook_sees_the_ids_and_ids_are_never_cut_or_filtered(
    collector: Collector, init: Init
) -> None:
    seen: list[Any] = []

    def before_track(message: Any, event: Any) -> Any:
        seen.append(message["anonymousId"])
        message["properties"]["long"] = "x" * 50_000
        return message

    card = "4111111111111111"
    init(segment={"anonymous": True, "before_track": before_track})
    visit(card * 15)
    sentry_sdk.flush(10.0)
    [message] = collector.wait_for_messages(1)
    assert message["anonymousId"] == card * 15
    assert seen == [card * 15]
    assert len(message["properties"]["long"]) < 32_000
