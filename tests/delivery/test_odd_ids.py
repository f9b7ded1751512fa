"""User ids that are an object as Python shows it: said in the log, and sent all the same."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
import sentry_sdk

from collector import Collector
from support import Init, capture, logged


class User:
    def __repr__(self) -> str:
        return '<User: jo "the boss" of shop>'


@pytest.mark.parametrize(
    ("user_id", "shown"),
    [(uuid.UUID(int=7), "UUID"), (Decimal("7.5"), "Decimal"), (User(), "User")],
)
@pytest.mark.parametrize("hook", [None, lambda message, event: message])
def test_an_id_that_python_shows_is_told_without_more_of_it(
    collector: Collector,
    init: Init,
    user_id: Any,
    shown: str,
    hook: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    init(segment={"before_track": hook})
    capture(user={"id": user_id})
    capture(user={"id": user_id})
    sentry_sdk.flush(10.0)
    messages = collector.wait_for_messages(2)
    assert {message["userId"] for message in messages} == {repr(user_id)}
    assert logged(caplog).count(f"A user id is a {shown} as Python shows it") == 1
    assert "str(user.id)" in logged(caplog)
    assert repr(user_id) not in logged(caplog)


@pytest.mark.parametrize(
    "user_id", ["1906", 1906, "jo (shop)", "a>b", "<>", "x(1)y", str(uuid.UUID(int=7))]
)
def test_other_ids_are_fine(
    collector: Collector, init: Init, user_id: Any, caplog: pytest.LogCaptureFixture
) -> None:
    init()
    capture(user={"id": user_id})
    sentry_sdk.flush(10.0)
    collector.wait_for_messages(1)
    assert not logged(caplog)
