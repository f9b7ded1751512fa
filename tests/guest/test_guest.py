"""A good guest: the mirror leaves no trace of its own in Sentry, in the application's logs or in
its memory, and whatever fails in it, the capture goes on."""

from __future__ import annotations

import contextvars
import gc
import json
import logging
import threading
import traceback
import weakref
from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sentry_sdk
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.stdlib import StdlibIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.transport import Transport

from collector import Collector, Reply
from faults import in_turn
from scripts import run
from sentry_segment import SegmentIntegration, TrackMessage
from sentry_segment.guest.log import ProblemLog
from support import WRITE_KEY, Init, NamelessError, capture

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

CREDENTIALS = b64encode(f"{WRITE_KEY}:".encode()).decode()


@pytest.fixture
def watched(segment: Collector, init: Init, caplog: pytest.LogCaptureFixture) -> Iterator[Init]:
    """`init`, with every integration on that records HTTP requests, threads or log lines.

    Segment has a port of its own: the SDK keeps requests to Sentry's host out anyway.
    """
    caplog.set_level(logging.DEBUG)

    def watched(*, segment_options: dict[str, Any] | None = None) -> SegmentIntegration:
        options: dict[str, Any] = {"traces_sample_rate": 1.0}
        if "enable_logs" in DEFAULT_OPTIONS:  # newer SDKs
            options["enable_logs"] = True
        return init(
            segment={"host": segment.url, **(segment_options or {})},
            integrations=[
                HttpxIntegration(),
                LoggingIntegration(level=logging.DEBUG, event_level=logging.WARNING),
                StdlibIntegration(),
                ThreadingIntegration(propagate_scope=True),
            ],
            **options,
        )

    yield watched
    segment.answer = None


def payloads(sentry: Collector, kind: str) -> list[Any]:
    return [payload for item, payload in sentry.items if item == kind]


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """What the mirror has logged."""
    return "\n".join(r.getMessage() for r in caplog.records if r.name == "sentry_segment")


# In Sentry


@pytest.mark.parametrize("status", [200, 401, 500])
def test_the_mirrors_requests_and_log_lines_leave_no_trace_in_sentry(
    collector: Collector, segment: Collector, watched: Init, status: int
) -> None:
    segment.answer = in_turn(status)
    integration = watched()
    with sentry_sdk.start_transaction(name="request"):
        capture()
        assert integration.flush(10.0)
        logging.getLogger("application").info("its own line")
        httpx.get(f"{segment.url}/application")
        sentry_sdk.capture_message("the request's end")
    sentry_sdk.flush(10.0)

    error, end = collector.events
    assert error["exception"]["values"][0]["type"] == "ValueError"
    assert end["message"] == "the request's end"
    [transaction] = payloads(collector, "transaction")
    logs = [line for item in payloads(collector, "log") for line in item["items"]]
    trace = json.dumps([error["breadcrumbs"], end["breadcrumbs"], transaction["spans"], *logs])
    assert "/v1/track" not in trace
    assert "sentry_segment" not in trace
    assert "sentry-segment" not in trace
    # What the application does itself is all there.
    urls = [span["data"]["url"] for span in transaction["spans"]]
    assert [url for url in urls if url.startswith(segment.url)] == [f"{segment.url}/application"]
    assert "its own line" in json.dumps(end["breadcrumbs"])
    assert not logs or "its own line" in json.dumps(logs)


def test_what_the_mirror_logs_in_the_capturing_thread_leaves_no_trace_in_sentry(
    collector: Collector, watched: Init, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        raise LookupError("no such user")

    watched(segment_options={"before_track": fail})
    capture()
    assert "no such user" in logged(caplog)
    sentry_sdk.capture_message("the request's end")
    sentry_sdk.flush(10.0)
    _, end = collector.events
    assert end["message"] == "the request's end"
    assert "no such user" not in json.dumps([end["breadcrumbs"], payloads(collector, "log")])


def test_no_trace_headers_are_sent_to_segment(segment: Collector, watched: Init) -> None:
    integration = watched()
    with sentry_sdk.start_transaction(name="request"):
        capture()
        assert integration.flush(10.0)
        httpx.get(f"{segment.url}/application")
    mirrored, applications = segment.calls
    assert not {"sentry-trace", "baggage"} & set(mirrored.headers)
    assert {"sentry-trace", "baggage"} <= set(applications.headers)


def test_nothing_that_on_error_does_arrives_in_sentry(
    collector: Collector, segment: Collector, watched: Init
) -> None:
    integrations: list[Any] = []

    def on_error(error: Exception, messages: list[TrackMessage]) -> None:
        integrations.append(sentry_sdk.get_client().get_integration(HttpxIntegration))
        sentry_sdk.capture_message("from on_error")
        sentry_sdk.capture_exception(error)
        logging.getLogger("application").error("from on_error")
        with sentry_sdk.start_transaction(name="from on_error"):
            httpx.get(f"{segment.url}/application")

    segment.answer = in_turn(401)
    integration = watched(segment_options={"on_error": on_error})
    capture()
    assert integration.flush(10.0)
    sentry_sdk.flush(10.0)
    assert integrations == [None]
    assert len(segment.calls) == 2
    assert [kind for kind, _ in collector.items] == ["event"]


# In the application's logs


def test_the_http_client_logs_the_applications_requests_and_not_the_mirrors(
    segment: Collector, watched: Init, caplog: pytest.LogCaptureFixture
) -> None:
    def of_the_client() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name.startswith("http")]

    integration = watched()
    capture()
    assert integration.flush(10.0)
    assert not of_the_client()
    httpx.get(f"{segment.url}/application")
    assert {"httpx", "httpcore.connection"} <= {record.name for record in of_the_client()}


@pytest.mark.parametrize("status", [302, 400, 401, 500])
def test_the_write_key_is_shown_nowhere_even_if_the_server_echoes_it(
    segment: Collector, watched: Init, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    errors: list[Exception] = []
    echo = f"the key {WRITE_KEY} in Authorization: Basic {CREDENTIALS}"
    segment.answer = in_turn(Reply(status, headers={"X-Echo": echo}, body=echo.encode()))
    integration = watched(segment_options={"on_error": lambda error, _: errors.append(error)})
    capture()
    assert integration.flush(10.0)
    shown = [record.getMessage() for record in caplog.records]
    shown += [f"{each} {each!r}" for each in (integration, integration.stats, *errors)]
    shown += [str(record.__dict__) for record in caplog.records]
    assert "Basic" in "\n".join(shown)  # the echo, masked
    assert f"the key …{WRITE_KEY[-4:]}" in "\n".join(shown)
    assert not [each for each in shown if WRITE_KEY in each or CREDENTIALS in each]


def test_a_repeated_problem_is_logged_once_a_minute_with_its_count(
    init: Init, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(
        "sentry_segment.integration.ProblemLog", lambda: ProblemLog(now=lambda: clock[0])
    )

    def fail(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        raise LookupError("no such user")

    init(segment={"before_track": fail})
    for _ in range(4):
        capture()
    clock[0] += 59.9
    capture()
    clock[0] += 0.1
    capture()
    clock[0] += 60.0
    capture()
    line = "before_track raised LookupError: no such user"
    assert [r.getMessage() for r in caplog.records if r.name == "sentry_segment"] == [
        line,
        f"{line} (and 4 more times since this was last logged)",
        line,
    ]


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
    def fail(event: Any, event_name: str) -> None:
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

    def fail(event: Any, event_name: str) -> None:
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


# before_track


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
