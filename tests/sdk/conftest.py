"""The mirror's threads, told apart from those of other tests."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest


@pytest.fixture
def mirror_threads() -> Callable[[], list[threading.Thread]]:
    """The mirror's threads that were started in this test and run still."""
    before = set(threading.enumerate())
    return lambda: [
        thread
        for thread in threading.enumerate()
        if thread.name == "sentry-segment" and thread not in before
    ]
