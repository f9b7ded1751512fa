"""A connection that breaks, in whatever way and wherever, is replaced: the next try delivers."""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import httpx
import pytest

from broken_ways import (
    CELLS,
    FAULTS,
    TIMES,
    Fault,
    Mirror,
    Names,
    Thief,
    closed,
    descriptor_of,
    descriptors,
    way,
)
from collector import Collector
from faults import dripping, fault, in_turn
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions
from sentry_segment.wire.verdict import Outcome
from sqlite_spools import wait_until
from support import capture, some
from virtual import options


@some
@pytest.mark.parametrize(("route", "place", "name", "when"), CELLS)
def test_whatever_broke_the_next_try_delivers(
    route: str,
    place: str,
    name: str,
    when: str,
    names: Names,
    contexts: dict[str, ssl.SSLContext],
    mirror: Mirror,
    problems: SimpleQueue[str],
    end_mirror: Callable[[], None],
) -> None:
    broken = FAULTS[name]
    before = descriptors()
    captured = []
    with way(route, names, contexts) as there:
        integration = mirror(there, broken.timeout)
        is_open = when == TIMES[1]
        if is_open:
            captured.append(capture())
            assert integration.flush(30.0)
        wire = there.front if place == "at the front" else there.back
        with broken.how(there, wire, is_open):
            captured.append(capture())
            assert "could not take" in problems.get(timeout=30.0)
        captured.append(capture())
        assert integration.flush(30.0)

        stats = integration.stats
        assert (stats.mirrored, stats.delivered, stats.queued) == (len(captured),) * 2 + (0,)
        assert sum(stats.dropped.values()) == 0
        assert stats.retries >= 1
        assert re.fullmatch(rf"\w+: .*({broken.says}).*", stats.last_error or "")
        received = [message["messageId"] for message in there.segment.messages]
        if broken.timeout == Fault.TIMEOUT:
            # Where a good exchange was longer than that, a message came again, or after others.
            assert set(received) == set(captured)
        else:
            assert received == captured
        end_mirror()
    # Other tests' threads may just have one open.
    wait_until(lambda: not descriptors().items() - before.items())


@pytest.mark.parametrize("how", ["closed", "taken"])
def test_a_descriptor_that_was_lost_while_nothing_was_sent_costs_no_try(
    how: str,
    names: Names,
    contexts: dict[str, ssl.SSLContext],
    mirror: Mirror,
    end_mirror: Callable[[], None],
) -> None:
    with way("direct", names, contexts) as there:
        integration = mirror(there)
        captured = [capture()]
        assert integration.flush(30.0)
        thief = Thief()
        if how == "closed":
            os.close(descriptor_of(there.front.open[-1]))
        else:
            thief.take(there.front.open[-1])
        captured.append(capture())
        assert integration.flush(30.0)
        assert (integration.stats.retries, integration.stats.last_error) == (0, None)
        assert [message["messageId"] for message in there.segment.messages] == captured
        if how == "taken":
            thief.look()
        thief.close()
        end_mirror()


def test_a_forked_child_closes_no_descriptor_that_is_anothers_by_now(
    names: Names,
    contexts: dict[str, ssl.SSLContext],
    mirror: Mirror,
    end_mirror: Callable[[], None],
) -> None:
    with way("direct", names, contexts) as there:
        integration = mirror(there)
        capture()
        assert integration.flush(30.0)
        thief = Thief()
        thief.take(there.front.open[-1])
        child = os.fork()
        if child == 0:
            try:
                os.write(thief.number, b"of the child")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert thief.other_end.recv(100) == b"of the child"
        thief.look()
        thief.close()
        end_mirror()


@pytest.mark.parametrize("is_open", [False, True])
def test_the_limit_of_time_holds_for_a_record_that_drips_within_an_https_proxys_tls(
    is_open: bool,
    names: Names,
    contexts: dict[str, ssl.SSLContext],
    mirror: Mirror,
    problems: SimpleQueue[str],
    end_mirror: Callable[[], None],
) -> None:
    def drip(connection: socket.socket, closing: threading.Event) -> None:
        closed(connection, closing)
        kind = 23 if is_open else 22  # application data, handshake (RFC 8446, section 5.1)
        connection.sendall(bytes([kind, 3, 3]) + (16_000).to_bytes(2, "big"))
        dripping(b"\0")(connection, closing)

    with way("https", names, contexts) as there:
        integration = mirror(there, Fault.TIMEOUT)
        if is_open:
            capture()
            assert integration.flush(30.0)
        (there.back.break_open if is_open else there.back.break_next)(drip)
        capture()
        assert "Timeout: " in problems.get(timeout=10.0)
        assert integration.flush(30.0)
        end_mirror()


@pytest.mark.parametrize("kind", [httpx.Client, socket.socket])
def test_a_close_that_fails_is_harmless(
    kind: type, segment: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment.answer = in_turn(fault())
    api = SegmentApi(options(segment), NetworkOptions())
    close = kind.close  # type: ignore[attr-defined]

    def fail(self: Any) -> None:
        close(self)
        if threading.current_thread() is threading.main_thread():  # and not the server's
            raise OSError("a fault in the close")

    with monkeypatch.context() as patch:
        patch.setattr(kind, "close", fail)
        verdicts = [api.send([b'{"messageId": "1"}'], 0, 10.0) for _ in range(2)]
        api.close()
    assert [verdict.outcome for verdict in verdicts] == [Outcome.RETRY, Outcome.DELIVERED]
    assert "disconnected" in verdicts[0].error
