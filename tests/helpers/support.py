"""What the tests share beside fixtures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk

from sentry_segment import SegmentIntegration, TrackMessage
from sentry_segment.mapping.message import parts, track_message

WRITE_KEY = "wk_0123456789_abcdef"

is_in_full = False
"""Whether pytest was given `--all`. Set before the test files are imported."""

MEASURED: dict[str, str] = {}
"""The environment of a process whose coverage is measured, which takes it 0.2 seconds. Of those
that tests start, the ones are that go through the package in a way that no test's own does."""

Init = Callable[..., SegmentIntegration]


def many(times: int) -> int:
    """How often to try what is tried many times: a tenth of it without `--all`."""
    return times if is_in_full else max(1, times // 10)


at_length = pytest.mark.skipif("not __import__('support').is_in_full", reason="needs --all")
"""Of a test that takes too long to be run without `--all`."""


some = pytest.mark.some
"""Of a test with many parameters: without `--all`, some of them are tried, always the same."""


class _Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise NamelessError


class NamelessError(Exception, metaclass=_Nameless):
    """An error whose class can't even be named."""


def capture(error: Exception | None = None, user: Any = None, **user_fields: Any) -> str:
    """Capture an error, raised for real, of the user with these fields; returns its event id.

    `user` is the whole user instead (the default is one with the id "u1").
    """
    user = user_fields or user or {"id": "u1"}
    with sentry_sdk.new_scope() as scope:
        scope.set_user(user)
        try:
            raise error or ValueError("a test's error")
        except Exception as raised:
            event_id = sentry_sdk.capture_exception(raised)
    assert event_id is not None
    return event_id


def message_for(event: dict[str, Any], event_name: str) -> TrackMessage | None:
    """The message for an event, `None` where it is not to be mirrored."""
    found = parts(event, event_name)
    return None if found is None else track_message(found)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """What the mirror has logged."""
    return "\n".join(r.getMessage() for r in caplog.records if r.name == "sentry_segment")
