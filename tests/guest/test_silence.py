"""A good guest: the mirror leaves no trace of its own in Sentry or in the application's logs."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sentry_sdk
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.stdlib import StdlibIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration

from collector import Collector, Reply
from faults import in_turn
from sentry_segment import SegmentIntegration, TrackMessage
from sentry_segment.guest.log import ProblemLog
from support import WRITE_KEY, Init, capture, logged

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
