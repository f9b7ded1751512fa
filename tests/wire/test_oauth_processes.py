"""OAuth 2.0 in copies and in forked processes: each has a token of its own."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from typing import Any

import pytest
import sentry_sdk

from collector import Collector, Reply
from support import Init, capture
from token_server import TokenServer

LONG = 60.0


def test_a_pickled_integration_delivers_with_a_token_of_its_own(
    segment: Collector, tokens: TokenServer, init: Init
) -> None:
    integration = init(segment={"host": segment.url, **tokens.client})
    copy = pickle.loads(pickle.dumps(integration))
    sentry_sdk.init(sentry_sdk.get_client().dsn, integrations=[copy])
    capture(user={"id": "u2"})
    assert copy.flush(LONG)
    [call] = segment.calls
    assert tokens.knows(call)
    assert call.json["userId"] == "u2"


@pytest.mark.parametrize("has_token", [True, False])
def test_a_child_of_a_fork_asks_for_its_own_token(
    segment: Collector, tokens: TokenServer, init: Init, has_token: bool
) -> None:
    """Also where the parent's is just being asked for."""
    integration = init(segment={"host": segment.url, **tokens.client})
    go = threading.Event()
    if has_token:
        capture(user={"id": "parent"})
        assert integration.flush(LONG)
    else:
        tokens.instead = lambda call: Reply(500, delay=go)
        capture(user={"id": "parent"})
        assert tokens.wait_for(lambda: bool(tokens.assertions))
        tokens.instead = None
    child = os.fork()
    if not child:
        status = 1
        try:
            capture(user={"id": "child"})
            status = 0 if integration.flush(LONG) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go.set()
    assert integration.flush(LONG)
    calls = {call.json["userId"]: call for call in segment.calls}
    assert set(calls) == {"parent", "child"}
    used = [call.headers["authorization"].removeprefix("Bearer ") for call in calls.values()]
    assert len(set(used)) == 2
    assert set(used) <= set(tokens.issued)
    assert tokens.errors == []  # so no assertion came twice


def test_what_a_signal_handler_raises_during_a_flush_travels_on_while_a_token_is_waited_for(
    segment: Collector, tokens: TokenServer, init: Init
) -> None:
    go = threading.Event()
    tokens.instead = lambda call: Reply(500, delay=go)
    integration = init(segment={"host": segment.url, **tokens.client})

    class TimeLimitError(Exception):
        pass

    def over(*_: Any) -> None:
        raise TimeLimitError

    before = signal.signal(signal.SIGALRM, over)
    try:
        capture()
        assert tokens.wait_for(lambda: bool(tokens.assertions))
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(TimeLimitError):
            integration.flush(LONG)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        tokens.instead = None
        go.set()
    assert integration.flush(LONG)
    assert len(segment.messages) == 1
