"""Memory is bounded: by the queue during an outage, and by nothing that outlives its client."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
import trustme
from sentry_sdk.scope import Scope, use_isolation_scope, use_scope
from sentry_sdk.transport import Transport

import sentry_segment
from collector import Collector, Reply
from sentry_segment import TrackMessage
from sqlite_spools import wait_until
from support import WRITE_KEY, Init, at_length, capture, many

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

PACKAGE = Path(sentry_segment.__file__).parent


class ForgetfulTransport(Transport):
    """Keeps nothing, so that what is kept is the mirror's."""

    def capture_envelope(self, envelope: Envelope) -> None:
        pass


# During an outage

ROOM = 50


class Message(dict[str, Any]):
    """A message that can be weakly referenced."""


def capture_many(number: int) -> list[str]:
    return [capture() for _ in range(number)]


def answer_503(collector: Collector) -> Callable[[], None]:
    collector.answer = lambda call: Reply(503)

    def recover() -> None:
        collector.answer = None

    return recover


def stop(collector: Collector) -> Callable[[], None]:
    collector.stop()
    return collector.start


@pytest.mark.parametrize("outage", [answer_503, stop])
def test_an_outage_keeps_as_many_of_the_oldest_messages_as_there_is_room(
    outage: Callable[[Collector], Callable[[], None]], collector: Collector, init: Init
) -> None:
    integration = init(segment={"max_queue_size": ROOM}, transport=ForgetfulTransport())
    recover = outage(collector)
    captured = []
    for number in range(1, 8 * ROOM + 1):
        captured.append(capture())
        stats = integration.stats
        assert stats.queued == stats.mirrored == min(number, ROOM)
        assert stats.dropped["queue_overflow"] == number - stats.queued
    recover()
    assert integration.flush(30.0)
    assert sorted(each["messageId"] for each in collector.messages) == sorted(captured[:ROOM])
    after = capture()  # there is room again
    assert integration.flush(30.0)
    assert collector.messages[-1]["messageId"] == after
    stats = integration.stats
    assert (stats.delivered, stats.dropped["queue_overflow"]) == (ROOM + 1, 7 * ROOM)


@at_length
def test_memory_does_not_grow_once_the_queue_is_full(collector: Collector, init: Init) -> None:
    messages: list[weakref.ref[Message]] = []

    def weakly(message: TrackMessage, event: dict[str, Any]) -> Any:
        kept = Message(message)
        messages.append(weakref.ref(kept))
        return kept

    def alive() -> int:
        gc.collect()
        return sum(reference() is not None for reference in messages)

    def blocks() -> int:
        """Blocks of memory that the package's own lines asked for and that are still in use."""
        gc.collect()
        ours = tracemalloc.Filter(True, str(PACKAGE / "*"))
        return len(tracemalloc.take_snapshot().filter_traces([ours]).traces)

    integration = init(
        segment={"max_queue_size": ROOM, "before_track": weakly},
        transport=ForgetfulTransport(),
    )
    recover = stop(collector)  # it would keep the requests that it answers
    tracemalloc.start()
    try:
        capture_many(2 * ROOM)
        assert alive() == ROOM
        full = blocks()
        for more in (2 * ROOM, 6 * ROOM):
            capture_many(more)
            assert alive() == ROOM
            # As many would be one block for each message that was dropped.
            assert blocks() < full + more
        recover()
        assert integration.flush(60.0)
        wait_until(lambda: alive() == 0)  # the thread lets go of the last ones yet
        assert blocks() < full
    finally:
        tracemalloc.stop()
    assert len(collector.messages) == ROOM


# Of a request


class Event(dict[str, Any]):
    """An event that can be weakly referenced."""


class RequestScope(Scope):
    """A scope that can be weakly referenced."""


class Held:
    """Something large that belongs to one request."""


class HeldError(Exception):
    pass


def test_a_message_keeps_nothing_of_its_request_alive(collector: Collector, init: Init) -> None:
    """Neither one under way, nor one that waits, nor one that found no room."""
    held: dict[str, list[weakref.ref[Any]]] = {}

    def hold(name: str, thing: Any) -> None:
        held.setdefault(name, []).append(weakref.ref(thing))

    def before_send(event: Any, hint: Any) -> Any:
        hold("the hint's own", hint["held"])
        return Event(event)

    def before_track(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        hold("the deep copy of the event", event)
        return message

    def fail(request: Held) -> None:
        in_locals = Held()
        hold("the locals", in_locals)
        raise HeldError(in_locals, request)

    def request() -> None:
        request = Held()
        hold("the request", request)
        isolation, current = RequestScope(), RequestScope()
        with use_isolation_scope(isolation), use_scope(current):
            hold("the isolation scope", isolation)
            hold("the current scope", current)
            in_extra = Held()
            hold("extra data", in_extra)
            current.set_extra("held", in_extra)
            current.set_user({"id": "u1"})

            def of_request(event: Any, hint: Any) -> Any:
                # As those of the SDK's integrations for web frameworks do.
                event["request"] = {"url": f"https://shop.example/{id(request)}"}
                event["extra"]["part"] = Event()
                return event

            isolation.add_event_processor(of_request)
            try:
                fail(request)
            except HeldError as error:
                hold("the exception", error)
                event, hint = sentry_sdk.utils.event_from_exception(error)
                current.capture_event(event, hint={**hint, "held": Held()})

    released = threading.Event()
    collector.answer = lambda call: Reply(delay=released)
    integration = init(
        segment={"max_queue_size": 2, "before_track": before_track},
        before_send=before_send,
        transport=ForgetfulTransport(),
        default_integrations=False,  # older SDKs' Dedupe keeps the latest exception
    )
    request()
    assert collector.wait_for(lambda: bool(collector.calls))
    request()
    request()
    stats = integration.stats
    assert (stats.queued, stats.dropped["queue_overflow"]) == (2, 1)
    gc.collect()
    assert {name: len(references) for name, references in held.items()} == dict.fromkeys(held, 3)
    assert len(held) == 8
    assert [name for name, refs in held.items() for each in refs if each() is not None] == []
    released.set()
    assert integration.flush(10.0)
    assert [each["context"]["page"]["method"] for each in collector.messages] == ["", ""]


# Of a client

MANY_CLIENTS = """
    import gc, os, sys, threading, weakref
    import sentry_sdk
    from sentry_sdk.transport import Transport
    from sentry_segment import SegmentIntegration

    class ForgetfulTransport(Transport):
        def capture_envelope(self, envelope):
            pass

    integrations = weakref.WeakSet()

    def use(name, **options):
        integration = SegmentIntegration("{key}", host=sys.argv[2])
        integrations.add(integration)
        client = sentry_sdk.Client(
            dsn=sys.argv[1],
            integrations=[integration],
            default_integrations=False,
            **options,
        )
        with sentry_sdk.isolation_scope() as scope:
            scope.set_client(client)
            scope.set_user({{"id": name}})
            sentry_sdk.capture_event({{"exception": {{"values": [{{"type": "E"}}]}}}})
        return client, integration

    def left():
        sentry_sdk.Client(dsn=None)  # some SDKs' profiler holds on to the latest client
        gc.collect()
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(20.0)
        gc.collect()
        threads = [thread.name for thread in threading.enumerate()]
        # Listing opens a descriptor, which is gone when it is looked at.
        fds = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                fds.append(os.readlink(f"/proc/self/fd/{{fd}}"))
            except FileNotFoundError:
                pass
        return len(integrations), sorted(threads), sorted(fds)

    def compare(round):
        for number in range(20):
            round(f"warm-up {{number}}")
        before = left()
        for number in range({clients}):
            round(f"client {{number}}")
        after = left()
        assert after == before, (before, after)
        assert after[0] == 0, after
        assert "sentry-segment" not in after[1], after
"""

CLIENTS = many(1_000)

ROUNDS = {
    "closed": """
        def round(name):
            client, integration = use(name)
            client.close()
        compare(round)
    """,
    # With a transport that has no thread: Sentry's own stay, where a client is just dropped.
    "dropped": """
        def round(name):
            client, integration = use(name, transport=ForgetfulTransport())
            assert integration.flush(20.0)
        compare(round)
    """,
}


@at_length
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc")
@pytest.mark.parametrize("script", ROUNDS.values(), ids=ROUNDS)
def test_many_clients_leave_no_thread_and_no_connection(
    script: str, collector: Collector, tmp_path: Path
) -> None:
    """Each delivers an error. TLS is set up with one certificate: with all it takes 20 ms each."""
    certificate = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(certificate))
    code = textwrap.dedent(MANY_CLIENTS.format(key=WRITE_KEY, clients=CLIENTS))
    ended = subprocess.run(
        [sys.executable, "-c", code + textwrap.dedent(script), collector.dsn, collector.url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            **{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
            "SSL_CERT_FILE": str(certificate),
        },
    )
    assert ended.returncode == 0, ended.stderr
    users = {each["userId"] for each in collector.messages}
    assert users >= {f"client {number}" for number in range(CLIENTS)}
