"""Mirrored is exactly what Sentry is handed, where it is an error of a user with an id."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.crons import capture_checkin
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber

from collector import Collector
from sentry_segment import SegmentIntegration
from support import Init, capture, some


def ids(events: list[dict[str, Any]], key: str = "event_id") -> set[str]:
    return {event[key] for event in events}


def delivered(collector: Collector, integration: SegmentIntegration) -> list[dict[str, Any]]:
    """All messages, once both sides have got what was captured."""
    sentry_sdk.flush(10.0)
    assert integration.flush(10.0)
    return collector.messages


# What the SDK drops is not mirrored; what it edits is mirrored as edited


def test_what_before_send_drops_is_not_mirrored(collector: Collector, init: Init) -> None:
    integration = init(before_send=lambda event, hint: None)
    capture_quietly()
    assert delivered(collector, integration) == collector.events == []


def capture_quietly(error: Exception | None = None) -> None:
    """Capture an error that the SDK may drop."""
    sentry_sdk.set_user({"id": "u1"})
    sentry_sdk.capture_exception(error or ValueError("a test's error"))


def test_a_user_that_before_send_edits_is_mirrored_as_edited(
    collector: Collector, init: Init
) -> None:
    def edit(event: Any, hint: Any) -> Any:
        event["user"]["id"] = "edited"
        return event

    integration = init(before_send=edit)
    capture(id="u1")
    assert [message["userId"] for message in delivered(collector, integration)] == ["edited"]


def test_a_user_that_before_send_adds_is_mirrored(collector: Collector, init: Init) -> None:
    integration = init(before_send=lambda event, hint: {**event, "user": {"id": "added"}})
    sentry_sdk.capture_exception(ValueError())
    assert [message["userId"] for message in delivered(collector, integration)] == ["added"]


def test_a_user_that_before_send_removes_is_not_mirrored(collector: Collector, init: Init) -> None:
    integration = init(before_send=lambda event, hint: {**event, "user": {}})
    capture(id="u1")
    assert delivered(collector, integration) == []
    assert len(collector.events) == 1


@pytest.mark.parametrize("registered", ["before", "after"])
def test_what_an_event_processor_drops_is_not_mirrored(
    registered: str, collector: Collector, init: Init
) -> None:
    def drop_value_errors(event: Any, hint: Any) -> Any:
        return None if isinstance(hint["exc_info"][1], ValueError) else event

    processors = sentry_sdk.scope.global_event_processors
    standing = list(processors)
    try:
        if registered == "before":
            processors.insert(0, drop_value_errors)
        integration = init()
        if registered == "after":
            processors.append(drop_value_errors)
        capture_quietly(ValueError())
        capture_quietly(KeyError())
        messages = delivered(collector, integration)
    finally:
        processors[:] = standing
    assert [message["properties"]["exceptionType"] for message in messages] == ["KeyError"]
    assert ids(messages, "messageId") == ids(collector.events)


def test_ignored_errors_are_not_mirrored(collector: Collector, init: Init) -> None:
    integration = init(ignore_errors=[ZeroDivisionError, "KeyError"])
    for error in (ZeroDivisionError(), KeyError(), ValueError()):
        capture_quietly(error)
    messages = delivered(collector, integration)
    assert [message["properties"]["exceptionType"] for message in messages] == ["ValueError"]


def test_an_exception_captured_twice_is_mirrored_once(collector: Collector, init: Init) -> None:
    integration = init()
    error = ValueError()
    capture_quietly(error)
    capture_quietly(error)
    assert len(delivered(collector, integration)) == len(collector.events) == 1


@some
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("option", ["sample_rate", "error_sampler"])
def test_sampled_is_the_same_set_on_both_sides(
    option: str, rate: float, collector: Collector, init: Init
) -> None:
    value: Any = rate if option == "sample_rate" else lambda event, hint: rate
    integration = init(**{option: value}, transport_queue_size=1_000)
    for _ in range(300):
        capture_quietly()
    messages = delivered(collector, integration)
    assert len(messages) == len(ids(messages, "messageId"))
    assert ids(messages, "messageId") == ids(collector.events)
    assert {0.0: len(messages) == 0, 0.5: 50 < len(messages) < 250, 1.0: len(messages) == 300}[rate]


def test_an_error_sampler_chooses_by_event(collector: Collector, init: Init) -> None:
    integration = init(
        error_sampler=lambda event, hint: float(isinstance(hint["exc_info"][1], KeyError))
    )
    capture_quietly(ValueError())
    capture_quietly(KeyError())
    messages = delivered(collector, integration)
    assert [message["properties"]["exceptionType"] for message in messages] == ["KeyError"]


def test_a_scrubbed_id_is_no_id(collector: Collector, init: Init) -> None:
    scrubber = EventScrubber(denylist=[*DEFAULT_DENYLIST, "id"], recursive=True)
    integration = init(event_scrubber=scrubber)
    capture(id="u1", email="u1@example.com")
    assert delivered(collector, integration) == []
    [event] = collector.events
    assert event["user"]["id"] == "[Filtered]"


# Errors alone


def test_a_message_is_not_mirrored(collector: Collector, init: Init) -> None:
    integration = init()
    sentry_sdk.set_user({"id": "u1"})
    sentry_sdk.capture_message("no exception")
    assert delivered(collector, integration) == []
    assert len(collector.events) == 1


def test_a_logged_exception_is_mirrored_and_a_logged_error_is_not(
    collector: Collector, init: Init
) -> None:
    integration = init()
    sentry_sdk.set_user({"id": "u1"})
    logging.getLogger("shop").error("no exception")
    try:
        raise LookupError
    except LookupError:
        logging.getLogger("shop").exception("an exception")
    messages = delivered(collector, integration)
    assert [message["properties"]["exceptionType"] for message in messages] == ["LookupError"]
    assert len(collector.events) == 2


def test_transactions_checkins_sessions_and_feedback_are_not_mirrored(
    collector: Collector, init: Init
) -> None:
    integration = init(traces_sample_rate=1.0, release="1.0", auto_session_tracking=True)
    sentry_sdk.set_user({"id": "u1"})
    with sentry_sdk.start_transaction(name="t"):
        pass
    capture_checkin(monitor_slug="cron", status="ok")
    sentry_sdk.Scope.get_isolation_scope().start_session()
    sentry_sdk.Scope.get_isolation_scope().end_session()
    feedback: Any = {"type": "feedback", "exception": {"values": [{"type": "E"}]}}
    sentry_sdk.capture_event(feedback)
    report = sentry_sdk.envelope.Envelope()
    report.add_item(sentry_sdk.envelope.Item(b"{}", type="user_report"))
    transport = sentry_sdk.get_client().transport
    assert transport is not None
    transport.capture_envelope(report)
    assert delivered(collector, integration) == []
    sent = {item_type for item_type, _ in collector.items}
    assert {"transaction", "check_in", "user_report", "event"} < sent
    assert sent & {"session", "sessions"}
    assert integration.stats.mirrored == 0


def test_logs_are_not_mirrored(collector: Collector, init: Init) -> None:
    has_logs = "enable_logs" in sentry_sdk.consts.DEFAULT_OPTIONS  # older SDKs have none
    integration = init(**({"enable_logs": True} if has_logs else {}))
    sentry_sdk.set_user({"id": "u1"})
    logging.getLogger("shop").warning("a line for Sentry's logs")
    assert delivered(collector, integration) == []
    assert ("log" in {item_type for item_type, _ in collector.items}) == has_logs


# Known users alone


@pytest.mark.parametrize(
    ("user_id", "mirrored_as"),
    [
        (0, "0"),
        (42, "42"),
        (-1, "-1"),
        ("u1", "u1"),
        ("0", "0"),
        ("äöü", "äöü"),
        (str(uuid.UUID(int=7)), str(uuid.UUID(int=7))),
        # What the SDK makes of an object, on Sentry's side as well.
        (uuid.UUID(int=7), repr(uuid.UUID(int=7))),
        ("", None),
        (None, None),
        ([], None),
        ([1], None),
        ({"id": 1}, None),
        ("[Filtered]", None),
    ],
    ids=repr,
)
def test_mirrored_are_the_errors_of_users_with_an_id(
    user_id: Any, mirrored_as: str | None, collector: Collector, init: Init
) -> None:
    integration = init()
    event_id = capture(id=user_id, email="u1@example.com")
    messages = delivered(collector, integration)
    expected = [] if mirrored_as is None else [(event_id, mirrored_as)]
    assert [(message["messageId"], message["userId"]) for message in messages] == expected
    assert ids(collector.events) == {event_id}


@pytest.mark.parametrize(
    "set_user",
    [
        lambda: None,
        lambda: sentry_sdk.set_user(None),
        lambda: sentry_sdk.set_user({}),
        lambda: sentry_sdk.set_user({"email": "u1@example.com"}),
        lambda: sentry_sdk.set_user({"username": "u1", "ip_address": "1.2.3.4"}),
    ],
    ids=["never set", "None", "empty", "e-mail", "name and address"],
)
def test_an_anonymous_user_is_not_mirrored(
    set_user: Callable[[], None], collector: Collector, init: Init
) -> None:
    integration = init()
    set_user()
    sentry_sdk.capture_exception(ValueError())
    assert delivered(collector, integration) == []
    assert len(collector.events) == 1


@pytest.mark.parametrize(
    "user_id", ["a\x7fb", "\x7f", "a\x00b", 'a"b\\', "\ud800", "a\x7f\x7fb", "é😀"]
)
def test_whatever_characters_an_id_has_it_arrives_as_it_is(
    user_id: str, collector: Collector, init: Init
) -> None:
    integration = init()
    capture(id=user_id)
    [message] = delivered(collector, integration)
    assert message["userId"] == user_id.encode("utf-8", "replace").decode()
    assert message["properties"]["exceptionType"] == "ValueError"
