"""Two clients that capture the same, settled after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from collector import Collector
from hostile import HostileError
from support import Init
from twins import Pair


@pytest.fixture
def pair(collector: Collector, init: Init) -> Iterator[Pair]:
    pair = Pair(collector, init)
    yield pair
    pair.assert_settled()
    pair.assert_identified()
    pair.plain.close(timeout=0.0)


@pytest.fixture
def hooked(collector: Collector, init: Init) -> Iterator[Pair]:
    """With both hooks: `edit_message` is the one, and the other raises."""
    told: list[Any] = []
    edit_message: list[Callable[[Any], Any]] = [lambda message: message]

    def on_error(error: Exception, messages: list[Any]) -> NoReturn:
        told.extend(messages)
        raise HostileError

    pair = Pair(
        collector,
        init,
        before_track=lambda message, event: edit_message[0](message),
        on_error=on_error,
    )
    pair.edit_message = edit_message
    yield pair
    edit_message[0] = lambda message: message
    pair.assert_settled()
    assert told
    pair.plain.close(timeout=0.0)
