"""The hook `before_track`: what it may do to a message, and what its faults cost."""

from __future__ import annotations

import threading
import traceback
from typing import Any

import pytest
import sentry_sdk

from collector import Collector
from scripts import run
from sentry_segment import SegmentIntegration, TrackMessage
from support import Init, NamelessError, capture, logged


def test_before_track_edits_the_message(collector: Collector, init: Init) -> None:
    def edit(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        message["properties"]["plan"] = "enterprise"
        message["properties"]["message"] = event["exception"]["values"][0]["value"]
        return message

    init(segment={"before_track": edit})
    capture(ValueError("out of stock"))
    [message] = collector.wait_for_messages(1)
    assert message["properties"]["plan"] == "enterprise"
    assert message["properties"]["message"] == "out of stock"


def test_before_track_may_return_a_message_of_its_own(collector: Collector, init: Init) -> None:
    own: Any = {"type": "track", "userId": "u2", "event": "Checkout Failed"}
    init(segment={"before_track": lambda message, event: own})
    capture()
    [message] = collector.wait_for_messages(1)
    assert (message["userId"], message["event"]) == ("u2", "Checkout Failed")


def test_before_track_drops_a_message_without_a_log_line(
    collector: Collector, init: Init, caplog: pytest.LogCaptureFixture
) -> None:
    integration = init(segment={"before_track": lambda message, event: None})
    capture()
    sentry_sdk.flush(10.0)
    assert len(collector.events) == 1
    assert not collector.calls
    assert integration.stats.dropped["before_track"] == 1
    assert not logged(caplog)


@pytest.mark.parametrize("garbage", ["a text", ["a list"], 42, True, {}])
def test_what_before_track_returns_by_mistake_is_dropped_and_named(
    collector: Collector, init: Init, caplog: pytest.LogCaptureFixture, garbage: Any
) -> None:
    integration = init(segment={"before_track": lambda message, event: garbage})
    capture()
    sentry_sdk.flush(10.0)
    assert len(collector.events) == 1
    assert not collector.calls
    assert integration.stats.dropped["before_track"] == 1
    name = "an empty message" if garbage == {} else f"a {type(garbage).__name__}"
    assert f"before_track returned {name}" in logged(caplog)


class _UnprintableError(Exception):
    def __str__(self) -> str:
        raise TypeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (LookupError("no such user"), "LookupError: no such user"),
        (_UnprintableError(), "_UnprintableError"),
        (NamelessError(), "an error"),
    ],
    ids=["plain", "unprintable", "nameless"],
)
def test_a_message_is_dropped_if_before_track_raises(
    collector: Collector,
    init: Init,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    named: str,
) -> None:
    def fail(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        raise error

    integration = init(segment={"before_track": fail})
    capture()
    sentry_sdk.flush(10.0)
    assert len(collector.events) == 1
    assert not collector.calls
    assert integration.stats.dropped["before_track"] == 1
    assert f"before_track raised {named}" in logged(caplog)


def test_nothing_that_before_track_does_to_the_event_reaches_sentry(
    collector: Collector, init: Init
) -> None:
    def deface(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        event["exception"]["values"][0]["type"] = "Defaced"
        event["user"]["id"] = "somebody else"
        event.clear()
        return message

    init(segment={"before_track": deface})
    capture()
    [message] = collector.wait_for_messages(1)
    sentry_sdk.flush(10.0)
    [event] = collector.events
    assert event["exception"]["values"][0]["type"] == "ValueError"
    assert (event["user"]["id"], message["userId"]) == ("u1", "u1")


def test_an_error_captured_within_before_track_goes_to_sentry_alone(
    collector: Collector, init: Init
) -> None:
    def capture_too(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        capture(RuntimeError("within the hook"), id="u2")
        return message

    integration = init(segment={"before_track": capture_too})
    for _ in range(2):
        capture(id="u1")
    messages = collector.wait_for_messages(2)
    sentry_sdk.flush(10.0)
    assert [message["userId"] for message in messages] == ["u1", "u1"]
    assert [event["user"]["id"] for event in collector.events] == ["u2", "u1", "u2", "u1"]
    assert integration.stats.dropped["before_track"] == 2


def test_before_track_is_called_in_the_capturing_thread(collector: Collector, init: Init) -> None:
    called_in: list[threading.Thread] = []

    def note(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        called_in.append(threading.current_thread())
        return message

    init(segment={"before_track": note})
    other = threading.Thread(target=capture)
    other.start()
    other.join()
    capture()
    collector.wait_for_messages(2)
    assert called_in == [other, threading.current_thread()]


def test_before_track_of_one_thread_does_not_hinder_another(
    collector: Collector, init: Init
) -> None:
    """Only what the hook itself captures is kept from it."""

    def capture_elsewhere(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        if message["userId"] == "first":
            thread = threading.Thread(target=capture, kwargs={"id": "second"})
            thread.start()
            thread.join()
        return message

    init(segment={"before_track": capture_elsewhere})
    capture(id="first")
    messages = collector.wait_for_messages(2)
    assert {message["userId"] for message in messages} == {"first", "second"}


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
def test_what_a_signal_handler_raises_within_the_hook_travels_on_and_sentry_has_the_event(
    raised: type[BaseException], collector: Collector, init: Init
) -> None:
    def hook(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        raise raised

    integration = init(segment={"before_track": hook})
    with pytest.raises(raised):
        capture()
    sentry_sdk.flush(10.0)
    assert len(collector.events) == 1
    assert collector.messages == []
    assert integration.stats.dropped["before_track"] == 1


def test_a_very_long_message_waits_no_longer_than_it_may_be_sent(
    collector: Collector, init: Init
) -> None:
    lengths: list[int] = []

    def measure(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        page = message["context"]["page"]
        lengths.extend([len(page["url"]), len(page["search"]), len(page["referrer"])])
        return message

    long = "x" * 300_000
    request = {"url": f"https://h/{long}?{long}", "headers": {"Referer": f"https://h/{long}"}}
    init(
        segment={"before_track": measure},
        before_send=lambda event, hint: {**event, "request": request},
    )
    capture()
    [message] = collector.wait_for_messages(1)
    assert 30_000 < sum(lengths) <= 32_000
    assert min(lengths) > 10_000
    assert message["context"]["page"]["url"].startswith("https://h/xxx")


def test_no_frame_of_ours_shows_the_write_key_when_an_option_is_wrong() -> None:
    secret = "wk_" + "secret" * 3
    with pytest.raises(ValueError, match="timeout") as raised:
        SegmentIntegration(secret, timeout=-1)
    frames = [frame for frame, _ in traceback.walk_tb(raised.value.__traceback__)]
    ours = [frame for frame in frames if "sentry_segment" in frame.f_code.co_filename]
    assert ours
    for frame in ours:
        variables = dict(frame.f_locals)
        variables.update(vars(variables.pop("self", None)))
        assert secret not in repr(variables)


def test_a_user_id_longer_than_a_message_costs_its_message_alone(
    collector: Collector, init: Init
) -> None:
    integration = init(max_value_length=2_000_000)  # older SDKs cut texts to 1,024
    long = capture(id="x" * 1_000_000)
    short = capture(id="u1")
    assert integration.flush(10.0)
    sentry_sdk.flush(10.0)
    assert [message["messageId"] for message in collector.messages] == [short]
    assert [event["event_id"] for event in collector.events] == [long, short]
    assert integration.stats.dropped["send_error"] == 1
    assert integration.stats.mirrored == 1  # the other did not wait in the queue


def test_a_warning_is_no_event_where_the_sdk_was_set_up_without_the_integration(
    collector: Collector,
) -> None:
    """Its loggers are not ignored yet."""
    ended = run(
        collector,
        """
        import logging
        from sentry_sdk.integrations.logging import LoggingIntegration

        on_warnings = LoggingIntegration(event_level=logging.WARNING)
        sentry_sdk.init(dsn=DSN, integrations=[on_warnings], attach_stacktrace=True)
        SegmentIntegration("key", host="http://segment.example")
        logging.warning("of the application")
        """,
    )
    assert "unencrypted" in ended.err
    assert [event["logentry"]["message"] for event in collector.events] == ["of the application"]
