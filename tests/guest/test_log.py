"""The mirror's log lines: to be read by people, and to come back to nobody."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from collector import Collector, Reply
from scripts import run
from sentry_segment.guest.log import logger, warn
from support import some

# As loguru's documentation has it: loguru is handed what `logging` gets.
LOGURU = """
    import inspect, logging
    from loguru import logger
    from sentry_sdk.consts import DEFAULT_OPTIONS
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.integrations.loguru import LoguruEventHandler, LoguruIntegration

    class InterceptHandler(logging.Handler):
        def emit(self, record):
            frame, depth = inspect.currentframe(), 0
            while frame and (depth == 0 or frame.f_code.co_filename == logging.__file__):
                frame, depth = frame.f_back, depth + 1
            logger.opt(depth=depth, exception=record.exc_info).log(
                record.levelname, record.getMessage()
            )

    logging.basicConfig(handlers=[InterceptHandler()], level=0, force=True)
    integrations = [
        LoggingIntegration(level=logging.INFO, event_level=logging.WARNING),
        LoguruIntegration(level=logging.INFO, event_level=logging.WARNING),
    ]
    options = {"enable_logs": True} if "enable_logs" in DEFAULT_OPTIONS else {}
"""
WARNINGS = """
    # As in a process whose SDK was set up without the integration before.
    sentry_sdk.init(dsn=DSN, integrations=integrations, **options)
    SegmentIntegration("")
    segment = SegmentIntegration("key", host=HOST)
    sentry_sdk.init(dsn=DSN, integrations=[segment, *integrations], **options)
    sentry_sdk.set_user({"id": "u1"})
    capture("A")
    segment.flush(20)
    logger.warning("of the application")
    logger.complete()
    sentry_sdk.flush(20)
"""


@some
@pytest.mark.parametrize(
    "sink",
    [
        pytest.param("", id="the SDK's own"),
        pytest.param(
            "logger.add(LoguruEventHandler(level=logging.WARNING), enqueue=True)",
            id="one in a thread of its own",
        ),
    ],
)
def test_what_loguru_is_handed_of_them_does_not_come_back_to_sentry(
    collector: Collector, sink: str
) -> None:
    collector.answer = lambda call: Reply(401)
    ended = run(collector, LOGURU + WARNINGS.replace("    capture(", f"    {sink}\n    capture("))
    assert ended.status == 0, ended.err
    at_sentry = json.dumps([payload for _, payload in collector.items])
    assert "of the application" in at_sentry
    for text in ("No write key", "refused the write key"):
        assert text in ended.err  # by loguru
        assert text not in at_sentry


# Streams that are closed


class Lines:
    """The mirror's logger with these handlers alone."""

    def __init__(self, *handlers: logging.Handler) -> None:
        self.handlers = handlers

    def __enter__(self) -> None:
        logger.propagate = False
        for handler in self.handlers:
            logger.addHandler(handler)

    def __exit__(self, *error: object) -> None:
        logger.propagate = True
        for handler in self.handlers:
            logger.removeHandler(handler)


def to_closed_stream() -> logging.Handler:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    stream.close()
    return handler


def test_a_handler_whose_stream_is_closed_is_left_out_and_the_others_get_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream, of_errors = StringIO(), StringIO()
    errors_alone = logging.StreamHandler(of_errors)
    errors_alone.setLevel(logging.ERROR)
    with Lines(to_closed_stream(), logging.StreamHandler(stream), errors_alone):
        warn("a line")
    assert stream.getvalue() == "a line\n"
    assert of_errors.getvalue() == ""
    assert capsys.readouterr().err == ""


def test_filters_hold_where_a_stream_is_closed() -> None:
    stream = StringIO()

    def drop(record: logging.LogRecord) -> bool:
        return "secret" not in record.getMessage()

    logger.addFilter(drop)
    try:
        with Lines(to_closed_stream(), logging.StreamHandler(stream)):
            warn("a secret line")
            warn("a line")
    finally:
        logger.removeFilter(drop)
    assert stream.getvalue() == "a line\n"


def test_without_a_handler_a_line_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines():
        warn("a line")
        assert capsys.readouterr().err == "a line\n"


def test_a_line_below_the_loggers_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logger.setLevel(logging.ERROR)
    try:
        with Lines():
            warn("a line")
    finally:
        logger.setLevel(logging.NOTSET)
    assert capsys.readouterr().err == ""


def test_a_pytest_run_whose_streams_are_closed_ends_without_a_traceback(
    collector: Collector, tmp_path: Path
) -> None:
    """Its handlers were made while pytest captured: their streams are those of the tests."""
    collector.answer = lambda call: Reply(503)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(f"""
import logging
import sentry_sdk
from sentry_segment import SegmentIntegration

def test_it():
    logging.basicConfig(force=True)
    logging.getLogger().addHandler(logging.FileHandler("it.log"))
    segment = SegmentIntegration("key", host={collector.url!r})
    sentry_sdk.init(dsn={collector.dsn!r}, integrations=[segment], shutdown_timeout=0.5)
    sentry_sdk.set_user({{"id": "u1"}})
    sentry_sdk.capture_exception(ValueError())
""")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "SENTRY_DSN": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "1 passed" in done.stdout
    assert "Logging error" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "could not be delivered" in (tmp_path / "it.log").read_text()
