"""A good guest: nothing of an event is kept in memory, and whatever fails in the mirror, the
capture goes on."""

from __future__ import annotations

import contextvars
import gc
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.transport import Transport

from collector import Collector, Reply
from sentry_segment import TrackMessage
from support import Init, capture, logged

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

# In memory


class Held:
    """Something large that belongs to one request."""


def test_the_thread_holds_nothing_of_the_request_during_which_it_was_started(
    segment: Collector, init: Init
) -> None:
    released = threading.Event()
    segment.answer = lambda call: Reply(delay=released)
    integration = init(
        segment={"host": segment.url}, integrations=[ThreadingIntegration(propagate_scope=True)]
    )
    sentry_sdk.capture_message("has the SDK start its own thread")
    variable: contextvars.ContextVar[Held] = contextvars.ContextVar("request")
    held: list[weakref.ref[Held]] = []

    def request() -> None:
        in_scope, in_context, in_locals = Held(), Held(), Held()
        held.extend(map(weakref.ref, (in_scope, in_context, in_locals)))
        variable.set(in_context)
        with sentry_sdk.isolation_scope() as scope:
            scope.set_extra("held", in_scope)
            with sentry_sdk.new_scope() as current:
                current.set_extra("held", in_scope)
                capture()

    threads = set(threading.enumerate())
    contextvars.copy_context().run(request)
    assert segment.wait_for(lambda: bool(segment.calls))
    gc.collect()
    assert [reference() for reference in held] == [None, None, None]
    started = [each for each in threading.enumerate() if each not in threads]
    assert "sentry-segment" in [thread.name for thread in started if thread.is_alive()]
    released.set()
    assert integration.flush(10.0)


class _ForgetfulTransport(Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        pass


class _Event(dict[str, Any]):
    """A dictionary that can be weakly referenced."""


class _Text(str):
    """A text that can be weakly referenced."""


class _Error(Exception):
    pass


def test_a_waiting_message_keeps_neither_event_nor_exception_alive(
    segment: Collector, init: Init
) -> None:
    released = threading.Event()
    segment.answer = lambda call: Reply(delay=released)
    held: list[weakref.ref[Any]] = []

    def before_send(event: Any, hint: Any) -> Any:
        event = _Event(event)
        user_id, release = _Text("u1"), _Text("1.0")
        event["user"], event["release"] = {"id": user_id}, release
        held.extend(map(weakref.ref, (event, user_id, release, hint["exc_info"][1])))
        return event

    integration = init(
        segment={"host": segment.url, "before_track": lambda message, event: message},
        before_send=before_send,
        transport=_ForgetfulTransport(),
        default_integrations=False,  # older SDKs' Dedupe keeps the latest exception
    )
    capture(_Error())
    assert segment.wait_for(lambda: bool(segment.calls))  # under way
    capture(_Error())  # waiting
    gc.collect()
    assert integration.stats.queued == 2
    assert [reference() for reference in held] == [None] * 8
    released.set()
    assert integration.flush(10.0)


# Failures


def test_a_failure_in_the_mapping_costs_its_message_and_nothing_else(
    collector: Collector,
    init: Init,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*given: Any) -> None:
        raise ArithmeticError("in the mapping")

    integration = init()
    with monkeypatch.context() as broken:
        broken.setattr("sentry_segment.sdk.mirror.parts", fail)
        lost = capture()
    mirrored = capture()
    [message] = collector.wait_for_messages(1)
    sentry_sdk.flush(10.0)
    assert message["messageId"] == mirrored
    assert [event["event_id"] for event in collector.events] == [lost, mirrored]
    assert integration.stats.dropped["internal_sdk_error"] == 1
    assert "ArithmeticError" in logged(caplog)
    assert "in the mapping" in logged(caplog)


def test_a_log_handler_that_captures_errors_captures_nothing_of_ours(
    collector: Collector, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Capturing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            capture(RuntimeError(record.getMessage()))

    def fail(*given: Any) -> None:
        raise ArithmeticError

    handler = Capturing()
    logging.getLogger("sentry_segment").addHandler(handler)
    monkeypatch.setattr("sentry_segment.sdk.mirror.parts", fail)
    try:
        integration = init()
        capture()
    finally:
        logging.getLogger("sentry_segment").removeHandler(handler)
    sentry_sdk.flush(10.0)
    assert len(collector.events) == 1
    assert integration.stats.dropped["internal_sdk_error"] == 1


def test_a_log_handler_that_raises_does_not_disturb_the_capture(
    collector: Collector, init: Init
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    def fail(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        raise LookupError

    handler = Broken()
    logging.getLogger("sentry_segment").addHandler(handler)
    try:
        init(segment={"before_track": fail})
        capture()
    finally:
        logging.getLogger("sentry_segment").removeHandler(handler)
    sentry_sdk.flush(10.0)
    assert len(collector.events) == 1
