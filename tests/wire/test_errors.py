"""What the error of an exchange says: never an empty text."""

from __future__ import annotations

import pytest

from sentry_segment.guest.log import describe


class MuteError(Exception):
    """An error without a text."""


def caused(error: Exception, cause: Exception | None, context: Exception | None) -> Exception:
    error.__cause__, error.__context__ = cause, context
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("its own"), "ValueError: its own"),
        (caused(MuteError(), OSError("its cause"), ValueError("context")), "MuteError: its cause"),
        (caused(MuteError(" "), None, ValueError("context")), "MuteError: context"),
        (caused(MuteError(), MuteError(), None), "MuteError: it has no text"),
        (MuteError(), "MuteError: it has no text"),
    ],
)
def test_an_error_without_a_text_is_told_by_its_cause(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_causes_that_go_round_in_a_circle_have_an_end() -> None:
    first, second = MuteError(), MuteError()
    first.__cause__, second.__cause__ = second, first
    assert describe(first) == "MuteError: it has no text"
