"""Many threads, signal handlers and the garbage collector; copies by pickling."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import time
from collections import deque
from types import FrameType
from typing import Any

import httpx
import pytest
import sentry_sdk

import virtual
from collector import Call, Collector, Reply
from sentry_segment import SegmentIntegration, TrackMessage
from sentry_segment.guest.clock import SystemClock
from sentry_segment.wire import network
from support import WRITE_KEY, Init, capture, many


def test_100_threads_while_segment_fails_and_recovers(collector: Collector, init: Init) -> None:
    integration = init(transport_queue_size=10_000)
    calls = 0

    def moody(call: Call) -> Reply | None:
        nonlocal calls
        calls += 1
        return [None, Reply(503), Reply(0)][calls % 3]

    collector.answer = moody
    start = threading.Barrier(100)
    captured: list[str] = []

    def work() -> None:
        start.wait()
        captured.extend(capture() for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    collector.answer = None
    assert integration.flush(30.0)
    assert len(captured) == 1_000
    assert sorted(each["messageId"] for each in collector.messages) == sorted(captured)
    stats = integration.stats
    assert (stats.mirrored, stats.delivered, stats.queued) == (1_000, 1_000, 0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such signals")
def test_a_capture_from_a_signal_handler_in_the_middle_of_another(
    collector: Collector, init: Init
) -> None:
    integration = init(transport_queue_size=100_000, segment={"max_queue_size": 1_000_000})
    from_handler: list[str] = []
    busy = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal busy
        if not busy:
            # The SDK's own transport is not to be entered twice: its queue has plain locks.
            busy = True
            integration._mirror.mirror(envelope())
            busy = False
            from_handler.append("")

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        attached = capture()
        count = 0
        while len(from_handler) < 200:
            integration._mirror.mirror(envelope())
            count += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert attached
    assert integration.flush(30.0)
    stats = integration.stats
    # The handler may have come first before the integration was attached.
    assert count + 1 <= stats.mirrored <= count + 1 + len(from_handler)
    assert stats.delivered == stats.mirrored == len(collector.messages)


def envelope() -> Any:
    made = sentry_sdk.envelope.Envelope()
    made.add_event({"exception": {"values": [{"type": "E"}]}, "user": {"id": "u1"}})  # type: ignore[typeddict-item, unused-ignore]
    return made


class RaisesAfterwards(deque[Any]):
    """Appends, then raises, as a signal handler may that is called after an append."""

    def append(self, item: Any) -> None:
        super().append(item)
        raise InterruptedError


def test_a_signal_handler_that_raises_out_of_a_put_leaves_the_counts_right(
    collector: Collector, init: Init
) -> None:
    integration = init()
    capture()
    assert integration.flush(10.0)
    assert integration._worker is not None
    integration._worker._queue._waiting = RaisesAfterwards()
    integration._mirror.mirror(envelope())
    assert integration.flush(10.0)
    sentry_sdk.flush(10.0)
    stats = integration.stats
    assert (stats.mirrored, stats.delivered, stats.queued) == (2, 2, 0)
    assert len(collector.messages) == 2


def test_a_thread_is_started_without_a_lock_that_a_finalizer_may_want(
    collector: Collector, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new thread may collect garbage before its starter goes on, and so drop another client."""
    integration = init()
    sentry_sdk.capture_message("attached")
    start = threading.Thread.start
    finalized: list[bool] = []

    def start_and_finalize(thread: threading.Thread) -> None:
        if thread.name == "sentry-segment":
            assert integration._worker is not None
            integration._worker.open()
            finalizer = threading.Thread(target=integration._worker.release, daemon=True)
            start(finalizer)
            finalizer.join(10.0)
            finalized.append(not finalizer.is_alive())
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_and_finalize)
    capture()
    assert finalized == [True]
    collector.wait_for_messages(1)


class Telling(SystemClock):
    """Tells that a thread of a certain name asks for the time."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def now(self) -> float:
        if threading.current_thread().name == "flushes":
            self.asked.set()
        return super().now()


def test_a_flush_that_waits_for_a_thread_whose_start_fails_delivers_itself(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Telling()
    made = virtual.unused_worker(collector, clock)
    start = threading.Thread.start
    results: list[bool] = []

    def fail(thread: threading.Thread) -> None:
        if thread.name == "sentry-segment":
            flush = made.begin_flush(10.0)
            flusher = threading.Thread(
                target=lambda: results.append(made.finish_flush(flush)), name="flushes"
            )
            start(flusher)
            assert clock.asked.wait(10.0)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    made.put(virtual.message())
    collector.wait_for_messages(1)
    for thread in threading.enumerate():
        if thread.name == "flushes":
            thread.join(10.0)
    assert results == [True]


def test_stats_add_up_at_any_moment(collector: Collector, init: Init) -> None:
    integration = init()
    capture()
    done = threading.Event()
    wrong: list[Any] = []

    def read() -> None:
        while not done.is_set():
            stats = integration.stats
            if stats.mirrored != stats.queued + stats.delivered + stats.dropped["send_error"]:
                wrong.append(stats)

    collector.answer = lambda call: Reply(422) if len(collector.calls) % 5 == 0 else None
    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(2_000):
        integration._mirror.mirror(envelope())
    assert integration.flush(30.0)
    done.set()
    reader.join()
    assert wrong == []
    assert integration.stats.mirrored == 2_001


def test_a_flush_may_take_for_ever(collector: Collector, init: Init) -> None:
    integration = init()
    capture()
    assert integration.flush(float("inf"))
    capture()
    sentry_sdk.flush(1e6)
    assert len(collector.messages) == 2


def test_a_capture_from_the_garbage_collector_in_the_middle_of_another(
    collector: Collector, init: Init
) -> None:
    integration = init()
    capture()
    finalized = 0

    class Captures:
        def __init__(self) -> None:
            self.myself = self  # a cycle, so that the collector finds it

        def __del__(self) -> None:
            nonlocal finalized
            finalized += 1
            integration._mirror.mirror(envelope())

    threshold = gc.get_threshold()
    gc.set_threshold(1)  # at about every allocation
    try:
        for _ in range(300):
            Captures()
            integration._mirror.mirror(envelope())
    finally:
        gc.set_threshold(*threshold)
    deadline = time.monotonic() + 10.0
    while finalized < 300 and time.monotonic() < deadline:
        gc.collect()  # which does nothing while another thread is at it
    assert finalized == 300
    assert integration.flush(30.0)
    assert integration.stats.mirrored == len(collector.messages) == 601


def test_a_flush_from_on_error_does_not_wait_for_itself(collector: Collector, init: Init) -> None:
    flushed: list[bool] = []

    def on_error(error: Exception, messages: list[TrackMessage]) -> None:
        flushed.append(integration.flush(30.0))
        sentry_sdk.flush(30.0)

    integration = init(segment={"on_error": on_error})
    go = threading.Event()
    collector.answer = lambda call: None if collector.calls else Reply(422, delay=go)
    capture()
    assert collector.wait_for(lambda: len(collector.calls) == 1)
    capture()
    go.set()
    assert integration.flush(20.0)
    assert flushed == [False]  # for the second still waited
    assert integration.stats.delivered == 1


def edit(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
    """A hook that can be pickled: it stands in a module."""
    message["properties"]["edited"] = True
    return message


@pytest.mark.parametrize("used", [False, True], ids=["before use", "after use"])
def test_a_pickled_integration_works_as_the_first_does(
    used: bool, collector: Collector, init: Init
) -> None:
    integration = init(segment={"before_track": edit, "gzip": True, "max_queue_size": 7})
    if used:
        capture()
        assert integration.flush(10.0)
    sent = len(collector.messages)
    copy: SegmentIntegration = pickle.loads(pickle.dumps(integration))
    assert repr(copy) == repr(integration)
    assert copy.stats.mirrored == 0
    sentry_sdk.init(dsn=collector.dsn, integrations=[copy])
    event_id = capture()
    assert copy.flush(10.0)
    assert len(collector.messages) == sent + 1
    assert collector.messages[-1]["messageId"] == event_id
    assert collector.messages[-1]["properties"]["edited"] is True
    assert collector.calls[-1].headers["content-encoding"] == "gzip"


def test_a_pickled_client_works_as_the_first_does(collector: Collector, init: Init) -> None:
    integration = init()
    capture()
    assert integration.flush(10.0)
    client: sentry_sdk.Client = pickle.loads(pickle.dumps(sentry_sdk.get_client()))
    copy = client.get_integration(SegmentIntegration)
    assert copy is not None
    assert copy is not integration
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(client)
        capture(id="copy")
    assert copy.flush(10.0)
    assert [each["userId"] for each in collector.messages] == ["u1", "copy"]
    client.close()


FORKS = many(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forks_while_other_threads_put_and_flush(collector: Collector, init: Init) -> None:
    """Each child mirrors one error and waits for it; none hangs, none sends its parent's."""
    integration = init()
    stop = threading.Event()

    def put() -> None:
        while not stop.is_set():
            integration._mirror.mirror(envelope())
            integration.flush(0.01)

    capture(id="first")
    threads = [threading.Thread(target=put) for _ in range(3)]
    for thread in threads:
        thread.start()
    statuses = []
    try:
        for number in range(FORKS):
            child = os.fork()
            if not child:
                status = 1
                try:
                    signal.alarm(120)
                    with sentry_sdk.new_scope():
                        in_child = envelope()
                        in_child.items[0].payload.json["user"]["id"] = f"child {number}"
                        integration._mirror.mirror(in_child)
                    status = 0 if integration.flush(60.0) else 2
                finally:
                    os._exit(status)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert statuses == [0] * FORKS
    assert integration.flush(30.0)
    sent = [each["userId"] for each in collector.messages]
    assert sorted(each for each in sent if each.startswith("child")) == sorted(
        f"child {number}" for number in range(FORKS)
    )
    assert len(sent) == integration.stats.delivered + FORKS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_waits_while_the_http_client_is_built(
    collector: Collector, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its child would inherit the locks of imports and of OpenSSL, held by nobody."""
    begun = threading.Event()
    is_built = False
    build = network._Client

    def build_slowly(**options: Any) -> httpx.Client:
        nonlocal is_built
        begun.set()
        threading.Event().wait(0.5)  # for nothing: time in which a fork could come
        client = build(**options)
        is_built = True
        return client

    integration = init()
    monkeypatch.setattr(network, "_Client", build_slowly)
    capture()
    assert begun.wait(10.0)
    child = os.fork()
    if not child:
        os._exit(0 if is_built else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert integration.flush(10.0)


def test_the_write_key_of_a_pickle_is_the_first_ones(collector: Collector, init: Init) -> None:
    integration = init()
    copy: SegmentIntegration = pickle.loads(pickle.dumps(integration))
    assert copy._options.write_key == WRITE_KEY
