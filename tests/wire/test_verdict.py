"""What the answers mean, and the waits after them: pure functions, by tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sentry_segment.wire.verdict import Outcome, backoff, judge, parse_retry_after

NOW = 1_767_225_600.0  # Thu, 01 Jan 2026 00:00:00 GMT


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.DELIVERED, [200, 201, 202, 204, 299]),
        (Outcome.RETRY, [408, 410, 429, 460, 500, 502, 503, 504, 507, 520, 599]),
        (Outcome.SPLIT, [400, 413]),
        (Outcome.REFUSED, [401, 402, 403, 404, 405, 409, 411, 415, 422, 431, 499]),
        (Outcome.REFUSED, [501, 505, 511]),
        (Outcome.REFUSED, [300, 301, 302, 304, 307, 308, 600]),
    ],
)
def test_each_status_has_its_outcome(outcome: Outcome, statuses: list[int]) -> None:
    assert {judge(status, None, NOW).outcome for status in statuses} == {outcome}


def test_a_verdict_tells_the_status_and_an_error_where_there_is_one() -> None:
    assert (judge(200, None, NOW).status, judge(200, None, NOW).error) == (200, "")
    assert (judge(503, None, NOW).status, judge(503, None, NOW).error) == (503, "HTTP 503")


@pytest.mark.parametrize("status", [429, 503, 408, 460])
def test_retry_after_counts_for_every_answer_that_is_tried_again(status: int) -> None:
    assert judge(status, "7", NOW).retry_after == 7


@pytest.mark.parametrize("status", [200, 400, 401, 413, 501])
def test_retry_after_counts_for_no_other_answer(status: int) -> None:
    assert judge(status, "7", NOW).retry_after is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1", 1),
        (" 30 ", 30),
        ("300", 300),
        ("301", 300),
        ("99999999999999999999999999", 300),
        ("Thu, 01 Jan 2026 00:00:10 GMT", 10),
        ("Thu, 01 Jan 2026 01:00:10 +0100", 10),
        ("Thu, 01 Jan 2026 00:00:10 -0000", 10),
        ("Thursday, 01-Jan-26 00:00:10 GMT", 10),
        ("Thu, 01 Jan 2027 00:00:00 GMT", 300),
        ("Thu, 01 Jan 2026 00:00:00 GMT", None),
        ("Wed, 31 Dec 2025 00:00:00 GMT", None),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Thu, 99 Foo 2026", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_up_to_five_minutes(
    header: str | None, seconds: float | None
) -> None:
    assert parse_retry_after(header, NOW) == seconds


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_a_date_is_held_against_the_servers_clock_where_ours_is_days_off(days: int) -> None:
    wrong, date = NOW + days * 86_400, "Thu, 01 Jan 2026 00:00:00 GMT"
    assert judge(429, "Thu, 01 Jan 2026 00:00:10 GMT", wrong, date).retry_after == 10
    assert judge(429, "Wed, 31 Dec 2025 00:00:00 GMT", wrong, date).retry_after is None


@pytest.mark.parametrize("date", ["", "soon", None])
def test_a_date_is_held_against_our_clock_where_the_server_does_not_tell(date: str | None) -> None:
    assert judge(429, "Thu, 01 Jan 2026 00:00:10 GMT", NOW, date).retry_after == 10


@pytest.mark.parametrize(
    ("status", "is_suspicious"),
    [(500, True), (503, True), (599, True), (429, False), (408, False), (200, False), (501, False)],
)
def test_a_message_may_be_to_blame_for_a_5xx_that_is_tried_again(
    status: int, is_suspicious: bool
) -> None:
    assert judge(status, None, NOW).is_suspicious is is_suspicious


def test_backoff_doubles_from_half_a_second_to_a_minute() -> None:
    waits = [backoff(failures, lambda: 1.0) for failures in range(1, 11)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert backoff(10_000, lambda: 1.0) == 60


@pytest.mark.parametrize(("random", "wait"), [(lambda: 0.0, 0.0), (lambda: 0.25, 1.0)])
def test_backoff_has_full_jitter(random: Callable[[], Any], wait: float) -> None:
    assert backoff(4, random) == wait
