"""The integration's place in the SDK: which clients are mirrored, and what they notice of it."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import json
import logging
import operator
import pickle
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
import sentry_sdk.transport
from sentry_sdk.crons import capture_checkin
from sentry_sdk.integrations.asyncio import AsyncioIntegration
from sentry_sdk.scope import Scope, add_global_event_processor, global_event_processors
from sentry_sdk.transport import HttpTransport, Transport
from sentry_sdk.utils import event_from_exception

from collector import Call, Collector, Reply
from sentry_segment import SegmentIntegration
from support import WRITE_KEY, Init, capture

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

OTHER_KEY = "wk_other_9876543210"

# Only newer SDKs have it, and only where anyio is installed.
AsyncHttpTransport: Any = getattr(sentry_sdk.transport, "AsyncHttpTransport", None)
needs_async_transport = pytest.mark.skipif(
    not getattr(sentry_sdk.transport, "ASYNC_TRANSPORT_AVAILABLE", False),
    reason="this SDK has no asynchronous transport",
)


class RecordingTransport(Transport):
    """Keeps what it is handed, and what is asked of it."""

    marker = "recording"

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.events: list[Any] = []
        self.asked: list[tuple[Any, ...]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None:
            self.events.append(event)

    def flush(self, timeout: float, callback: Any = None) -> None:
        self.asked.append(("flush", timeout, callback))

    def kill(self) -> None:
        self.asked.append(("kill",))

    def record_lost_event(self, reason: str, *args: Any, **kwargs: Any) -> None:
        self.asked.append(("record_lost_event", reason))

    def is_healthy(self) -> bool:
        self.asked.append(("is_healthy",))
        return False


@pytest.fixture
def mirror_threads() -> Callable[[], list[threading.Thread]]:
    """The mirror's threads that were started in this test and run still."""
    before = set(threading.enumerate())
    return lambda: [
        thread
        for thread in threading.enumerate()
        if thread.name == "sentry-segment" and thread not in before
    ]


@pytest.fixture
def processors() -> Iterator[list[Any]]:
    """The SDK's global event processors, put back as they were after the test."""
    kept = list(global_event_processors)
    yield global_event_processors
    global_event_processors[:] = kept


def keys_by_user(collector: Collector) -> dict[str, str | None]:
    """Whose message came with which write key."""
    return {
        message["userId"]: call.write_key
        for call in collector.calls
        for message in call.json.get("batch", [call.json])
    }


# Which clients


def test_an_error_captured_after_a_second_init_goes_to_the_second_write_key(
    collector: Collector, init: Init
) -> None:
    init()
    capture(id="first")
    init(segment={"write_key": OTHER_KEY})
    capture(id="second")
    collector.wait_for_messages(2)
    assert keys_by_user(collector) == {"first": WRITE_KEY, "second": OTHER_KEY}


def test_an_integration_can_be_given_to_init_again(collector: Collector, init: Init) -> None:
    integration = init()
    capture(id="before")
    sentry_sdk.init(dsn=collector.dsn, integrations=[integration])
    capture(id="after")
    messages = collector.wait_for_messages(2)
    assert integration.flush(10.0)
    assert [message["userId"] for message in messages] == ["before", "after"]
    assert integration.stats.delivered == 2


def test_two_clients_at_once_mirror_each_to_its_own_write_key(
    collector: Collector, init: Init
) -> None:
    init()
    other = sentry_sdk.Client(
        dsn=collector.dsn,
        integrations=[SegmentIntegration(OTHER_KEY, host=collector.url)],
    )
    capture(id="one")
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(other)
        capture(id="two")
    capture(id="three")
    collector.wait_for_messages(3)
    other.close(timeout=10.0)
    assert keys_by_user(collector) == {"one": WRITE_KEY, "two": OTHER_KEY, "three": WRITE_KEY}


def test_a_client_without_the_integration_is_not_mirrored(collector: Collector, init: Init) -> None:
    init()
    with (
        sentry_sdk.Client(dsn=collector.dsn) as other,
        sentry_sdk.isolation_scope() as scope,
    ):
        scope.set_client(other)
        capture(id="of the other client")
    capture(id="of ours")
    sentry_sdk.flush(10.0)
    assert [message["userId"] for message in collector.messages] == ["of ours"]
    assert len(collector.events) == 2


def test_without_a_dsn_nothing_is_mirrored_and_no_thread_started(
    init: Init, mirror_threads: Callable[[], list[threading.Thread]]
) -> None:
    integration = init(dsn=None)
    sentry_sdk.set_user({"id": "u1"})
    sentry_sdk.capture_exception(ValueError())
    sentry_sdk.flush()
    assert integration.stats.mirrored == 0
    assert not mirror_threads()


def test_an_event_that_is_not_mirrored_starts_no_thread(
    init: Init, mirror_threads: Callable[[], list[threading.Thread]]
) -> None:
    init()
    sentry_sdk.capture_message("of nobody")
    capture(ip_address="10.0.0.1")
    assert not mirror_threads()


def test_many_threads_whose_captures_are_a_clients_first_are_each_mirrored_once(
    collector: Collector, init: Init
) -> None:
    integration = init()
    barrier = threading.Barrier(20)
    event_ids: list[str] = []

    def capture_at_once(number: int) -> None:
        barrier.wait()
        event_ids.append(capture(id=number))

    threads = [threading.Thread(target=capture_at_once, args=(n,)) for n in range(20)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads take turns in the midst of attaching
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    sentry_sdk.flush(10.0)
    assert integration.flush(10.0)
    assert sorted(message["messageId"] for message in collector.messages) == sorted(event_ids)
    assert sorted(event["event_id"] for event in collector.events) == sorted(event_ids)


# Events given to a client itself


def event_of(user_id: str) -> tuple[Any, Any]:
    """An event and its hint, as `client.capture_event` takes them."""
    try:
        raise ValueError("a test's error")
    except ValueError as error:
        event, hint = event_from_exception(error)
    return {**event, "user": {"id": user_id}}, hint


def test_a_clients_first_event_is_mirrored_if_it_comes_without_a_scope(
    collector: Collector, init: Init
) -> None:
    init()
    sentry_sdk.get_client().capture_event(*event_of("given"))
    [message] = collector.wait_for_messages(1)
    sentry_sdk.flush(10.0)
    assert message["userId"] == "given"
    assert len(collector.events) == 1


def test_the_first_event_of_a_client_that_is_not_the_current_one_is_mirrored(
    collector: Collector, init: Init
) -> None:
    init()
    for key in (WRITE_KEY, OTHER_KEY):
        beside = sentry_sdk.Client(
            dsn=collector.dsn, integrations=[SegmentIntegration(key, host=collector.url)]
        )
        event, hint = event_of(key)
        beside.capture_event(event, hint, scope=Scope())
        beside.close(timeout=10.0)
    assert keys_by_user(collector) == {WRITE_KEY: WRITE_KEY, OTHER_KEY: OTHER_KEY}


def test_the_first_event_of_a_client_that_was_pickled_is_mirrored(
    collector: Collector, init: Init
) -> None:
    init()
    copied = pickle.loads(pickle.dumps(sentry_sdk.get_client()))
    copied.capture_event(*event_of("of the copy"))
    copied.close(timeout=10.0)
    assert [message["userId"] for message in collector.messages] == ["of the copy"]


def test_the_first_event_of_a_client_with_a_capture_event_of_its_own_is_mirrored(
    collector: Collector, init: Init
) -> None:
    class Tagging(sentry_sdk.client._Client):
        def capture_event(self, event: Any, *args: Any, **kwargs: Any) -> Any:
            event["release"] = "its own"
            return super().capture_event(event, *args, **kwargs)

    client = Tagging(
        dsn=collector.dsn, integrations=[SegmentIntegration(WRITE_KEY, host=collector.url)]
    )
    client.capture_event(*event_of("u1"))
    client.close(timeout=10.0)
    assert [message["properties"]["release"] for message in collector.messages] == ["its own"]


def test_an_event_given_to_a_closed_client_is_nobodys(collector: Collector, init: Init) -> None:
    integration = init()
    client = sentry_sdk.get_client()
    client.close(timeout=10.0)
    assert client.capture_event(*event_of("late")) is None
    assert client.transport is None
    assert integration.stats.mirrored == 0


def test_the_stack_of_a_message_shows_no_frame_of_ours(collector: Collector, init: Init) -> None:
    def capture_message() -> None:
        sentry_sdk.capture_message("just so")

    options: dict[str, Any] = {"attach_stacktrace": True}
    for start in (partial(sentry_sdk.init, dsn=collector.dsn), init):
        start(**options)
        for _ in range(2):  # the first event is the one that attaches
            capture_message()
        sentry_sdk.get_client().close(timeout=10.0)
    stacks = [event["threads"]["values"][0]["stacktrace"]["frames"] for event in collector.events]
    names = [[frame["function"] for frame in frames] for frames in stacks]
    assert len(names) == 4
    assert names[0][-1] == "capture_message"
    assert all(each == names[0] for each in names)


def test_the_clients_method_looks_as_it_is_and_is_wrapped_once(init: Init) -> None:
    init()
    wrapped = sentry_sdk.Client.capture_event
    assert list(inspect.signature(wrapped).parameters) == ["self", "event", "hint", "scope"]
    assert wrapped.__name__ == "capture_event"
    SegmentIntegration.setup_once()
    assert sentry_sdk.Client.capture_event is wrapped


def test_an_argument_that_the_sdk_does_not_know_is_refused_as_ever(init: Init) -> None:
    init()
    client: Any = sentry_sdk.get_client()
    with pytest.raises(TypeError, match="argument"):
        client.capture_event({}, surprising=True)
    with pytest.raises(TypeError, match="argument"):
        client.capture_event({}, None, None, "surprising")


def test_an_event_of_a_client_that_could_not_be_attached_goes_to_sentry_alone(
    collector: Collector, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise ArithmeticError("no transport like this")

    integration = init()
    monkeypatch.setattr(SegmentIntegration, "attach", fail)
    capture()
    sentry_sdk.flush(10.0)
    assert len(collector.events) == 1
    assert integration.stats.mirrored == 0


def test_what_a_signal_handler_raises_while_a_client_is_attached_travels_on(
    init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    init()
    monkeypatch.setattr(SegmentIntegration, "attach", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sentry_sdk.get_client().capture_event(*event_of("u1"))


# Which transports


def test_a_transport_given_as_an_instance_is_watched(collector: Collector, init: Init) -> None:
    transport = RecordingTransport()
    init(transport=transport)
    event_id = capture()
    [message] = collector.wait_for_messages(1)
    assert message["messageId"] == event_id
    assert [event["event_id"] for event in transport.events] == [event_id]


def test_a_transport_given_as_a_class_is_watched(collector: Collector, init: Init) -> None:
    init(transport=RecordingTransport)
    event_id = capture()
    [message] = collector.wait_for_messages(1)
    transport: Any = sentry_sdk.get_client().transport
    assert message["messageId"] == event_id
    assert [event["event_id"] for event in transport.events] == [event_id]


def test_a_transport_given_as_a_function_is_watched(collector: Collector, init: Init) -> None:
    events: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer SDKs
        init(transport=events.append)
        event_id = capture()
    [message] = collector.wait_for_messages(1)
    assert message["messageId"] == event_id
    assert [event["event_id"] for event in events] == [event_id]


def test_an_instance_shared_by_two_clients_mirrors_each_event_to_its_clients_key(
    collector: Collector, init: Init
) -> None:
    transport = RecordingTransport()
    init(transport=transport)
    capture(id="first")
    init(transport=transport, segment={"write_key": OTHER_KEY})
    capture(id="second")
    collector.wait_for_messages(2)
    assert keys_by_user(collector) == {"first": WRITE_KEY, "second": OTHER_KEY}
    assert len(collector.messages) == len(transport.events) == 2


def test_a_transport_taken_from_another_client_mirrors_to_the_new_clients_key_too(
    collector: Collector, init: Init
) -> None:
    init()
    capture(id="first")
    integration = init(
        transport=sentry_sdk.get_client().transport, segment={"write_key": OTHER_KEY}
    )
    capture(id="second")
    assert integration.flush(10.0)
    assert integration.stats.delivered == 1
    sent = [(call.write_key, each["userId"]) for call in collector.calls for each in call.messages]
    assert (OTHER_KEY, "second") in sent


def test_with_envelopes_printed_errors_are_mirrored_once(
    collector: Collector, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTRY_PRINT_ENVELOPES", "1")
    integration = init()
    event_id = capture()
    sentry_sdk.flush(10.0)
    assert integration.flush(10.0)
    assert [message["messageId"] for message in collector.messages] == [event_id]
    assert [event["event_id"] for event in collector.events] == [event_id]
    assert isinstance(sentry_sdk.get_client().transport, HttpTransport)


def test_the_watched_transport_is_an_instance_of_its_own_class(init: Init) -> None:
    init()
    capture()
    transport: Any = sentry_sdk.get_client().transport
    assert isinstance(transport, HttpTransport)
    assert transport.__class__ is HttpTransport


def test_what_the_watched_transport_has_beside_is_its_own(init: Init) -> None:
    inner = RecordingTransport()
    init(transport=inner)
    capture()
    transport: Any = sentry_sdk.get_client().transport
    assert transport is not inner  # it is watched
    assert transport.marker == "recording"
    assert transport.asked is inner.asked
    assert transport.parsed_dsn is inner.parsed_dsn
    with pytest.raises(AttributeError, match="no_such"):
        _ = transport.no_such


def test_the_sdks_own_worker_is_still_found_on_the_transport(init: Init) -> None:
    """Applications and the SDK's own tests look at the depth of its queue."""
    init()
    bare: Any = sentry_sdk.get_client().transport
    worker = bare._worker
    capture()
    watched: Any = sentry_sdk.get_client().transport
    assert watched is not bare
    assert watched._worker is worker


def test_what_is_asked_of_the_transport_reaches_it(init: Init) -> None:
    def progress(pending: int, timeout: float) -> None: ...

    inner = RecordingTransport()
    init(transport=inner, sample_rate=0.0)
    sentry_sdk.capture_exception(ValueError())
    client = sentry_sdk.get_client()
    assert client.transport is not None
    assert client.transport is not inner
    assert client.transport.is_healthy() is False
    client.flush(timeout=1.5, callback=progress)
    client.close(timeout=2.5)
    asked = [call for call in inner.asked if call[:2] != ("record_lost_event", "event_processor")]
    assert asked == [
        ("record_lost_event", "sample_rate"),
        ("is_healthy",),
        ("flush", 1.5, progress),
        ("flush", 2.5, None),
        ("kill",),
    ]


# What of an event


def test_what_event_processors_before_and_after_ours_edit_is_mirrored_edited(
    collector: Collector, init: Init, processors: list[Any]
) -> None:
    def name_the_user(event: Any, hint: Any) -> Any:
        event["user"] = {"id": "named"}
        return event

    def name_the_release(event: Any, hint: Any) -> Any:
        event["release"] = f"of {event['user']['id']}"
        return event

    processors.insert(0, name_the_user)
    init()
    add_global_event_processor(name_the_release)
    capture(id="replaced")
    [message] = collector.wait_for_messages(1)
    assert (message["userId"], message["properties"]["release"]) == ("named", "of named")


@pytest.mark.parametrize("place", ["before", "after"])
def test_what_an_event_processor_drops_is_not_mirrored(
    init: Init, processors: list[Any], place: str
) -> None:
    def drop(event: Any, hint: Any) -> None:
        return None

    integration = init()
    processors.insert(0 if place == "before" else len(processors), drop)
    with sentry_sdk.new_scope() as scope:
        scope.set_user({"id": "u1"})
        sentry_sdk.capture_exception(ValueError())
    assert integration.stats.mirrored == 0


# Without a write key


def test_without_a_write_key_nothing_is_done_but_one_line_logged(
    collector: Collector,
    init: Init,
    caplog: pytest.LogCaptureFixture,
    mirror_threads: Callable[[], list[threading.Thread]],
) -> None:
    integration = init(segment={"write_key": None})
    bare = sentry_sdk.get_client().transport
    capture()
    capture()
    sentry_sdk.flush(10.0)
    [line] = [record for record in caplog.records if record.name == "sentry_segment"]
    assert line.levelno == logging.WARNING
    assert "SEGMENT_WRITE_KEY" in line.getMessage()
    assert sentry_sdk.get_client().transport is bare
    assert len(collector.events) == 2
    assert not collector.calls
    assert integration.flush()
    assert not mirror_threads()


def test_the_write_key_is_read_from_the_environment(
    collector: Collector, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMENT_WRITE_KEY", OTHER_KEY)
    init(segment={"write_key": None})
    capture()
    collector.wait_for_messages(1)
    assert collector.calls[0].write_key == OTHER_KEY


# What Sentry receives


def test_sentry_receives_the_same_envelopes_as_without_the_integration(
    collector: Collector, init: Init
) -> None:
    options: dict[str, Any] = {"release": "1.0", "traces_sample_rate": 1.0}
    sentry_sdk.init(dsn=collector.dsn, **options)
    _capture_all_kinds()
    sentry_sdk.get_client().close(timeout=10.0)
    without = collector.envelopes
    integration = init(**options)
    _capture_all_kinds()
    sentry_sdk.flush(10.0)
    with_it = collector.envelopes[len(without) :]

    assert integration.stats.mirrored == 3
    assert len(without) == 6
    assert [_comparable(each) for each in with_it] == [_comparable(each) for each in without]
    assert b'"segment"' in with_it[0]
    assert b'"segment"' not in without[0]


def _capture_all_kinds() -> None:
    with sentry_sdk.isolation_scope():  # without a local variable, which the frames would show
        sentry_sdk.set_user({"id": "u1", "email": "someone@example.com"})
        sentry_sdk.set_tag("shop", "berlin")
        try:
            raise ValueError("plain")
        except ValueError as error:
            sentry_sdk.capture_exception(error)
        try:
            try:
                raise KeyError("the cause")
            except KeyError as error:
                raise RuntimeError("chained") from error
        except RuntimeError as error:
            sentry_sdk.capture_exception(error)
        sentry_sdk.capture_message("just so", level="warning")
        with (
            sentry_sdk.start_transaction(name="checkout", op="task"),
            sentry_sdk.start_span(op="pay"),
        ):
            pass
        capture_checkin(monitor_slug="nightly", status="ok", duration=1.5)
        sentry_sdk.add_breadcrumb(category="cart", message="added", data={"sku": 7})
        Scope.get_isolation_scope().add_attachment(bytes=b"\x00\xff attached", filename="cart.bin")
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            sentry_sdk.capture_exception(error)


_OF_EACH_RUN = {
    "check_in_id",
    "event_id",
    "length",  # of a payload with one more name in sdk.integrations
    "parent_span_id",
    "sample_rand",
    "sent_at",
    "span_id",
    "start_timestamp",
    "timestamp",
    "trace_id",
}


def _comparable(envelope: bytes) -> list[str | bytes]:
    """An envelope's lines without what is another in each run; JSON with its order kept."""
    return [_comparable_line(line) for line in envelope.split(b"\n")]


def _comparable_line(line: bytes) -> str | bytes:
    try:
        return json.dumps(_without_run(json.loads(line)))
    except ValueError:
        return line


def _without_run(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "..." if key in _OF_EACH_RUN else _without_run(part) for key, part in value.items()
        }
    if isinstance(value, list):
        # The integration's own name, in sdk.integrations.
        return [_without_run(part) for part in value if part != "segment"]
    return value


# The end of a client


def test_closing_a_client_ends_the_mirrors_thread(
    collector: Collector,
    init: Init,
    mirror_threads: Callable[[], list[threading.Thread]],
) -> None:
    init()
    capture()
    [thread] = mirror_threads()
    client = sentry_sdk.get_client()
    kept = client.transport  # as an application may
    client.close(timeout=10.0)
    thread.join(timeout=10.0)
    assert not thread.is_alive()
    assert kept is not None
    assert len(collector.messages) == 1


def test_a_transport_that_is_dropped_without_a_close_leaves_no_thread(
    collector: Collector,
    init: Init,
    mirror_threads: Callable[[], list[threading.Thread]],
) -> None:
    """As a client's is, once nobody has the client any more: the SDK keeps some for long."""
    init()
    capture()
    collector.wait_for_messages(1)
    [thread] = mirror_threads()
    sentry_sdk.get_client().transport = None
    gc.collect()
    thread.join(timeout=10.0)
    assert not thread.is_alive()


def test_of_two_clients_with_one_integration_the_thread_ends_with_the_last(
    collector: Collector,
    init: Init,
    mirror_threads: Callable[[], list[threading.Thread]],
) -> None:
    integration = init()
    first = sentry_sdk.get_client()
    capture()
    second = sentry_sdk.Client(dsn=collector.dsn, integrations=[integration])
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(second)
        capture()
        first.close(timeout=10.0)
        capture(id="after the first was closed")
        collector.wait_for_messages(3)
        [thread] = mirror_threads()
        second.close(timeout=10.0)
    thread.join(timeout=10.0)
    assert not thread.is_alive()


# Sentry's asynchronous transport


def _init_async(collector: Collector) -> SegmentIntegration:
    integration = SegmentIntegration(WRITE_KEY, host=collector.url)
    sentry_sdk.init(
        dsn=collector.dsn,
        integrations=[integration, AsyncioIntegration()],
        _experiments={"transport_async": True},
    )
    return integration


@needs_async_transport
def test_flush_async_delivers(collector: Collector) -> None:
    async def main() -> None:
        _init_async(collector)
        event_id = capture()
        client: Any = sentry_sdk.get_client()
        assert isinstance(client.transport, AsyncHttpTransport)
        await client.flush_async(timeout=10.0)
        assert [message["messageId"] for message in collector.messages] == [event_id]
        assert [event["event_id"] for event in collector.events] == [event_id]
        await client.close_async(timeout=10.0)

    asyncio.run(main())


@needs_async_transport
def test_while_flush_async_waits_for_segment_the_loop_goes_on(collector: Collector) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        arrived, answer = asyncio.Event(), threading.Event()

        def answer_later(call: Call) -> Reply:
            loop.call_soon_threadsafe(arrived.set)
            return Reply(delay=answer)

        collector.answer = answer_later
        integration = _init_async(collector)
        capture()
        client: Any = sentry_sdk.get_client()
        flushing = asyncio.create_task(client.flush_async(timeout=60.0))
        await arrived.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not flushing.done()
        answer.set()
        await flushing
        assert integration.stats.delivered == 1
        await client.close_async(timeout=10.0)

    asyncio.run(main())


@needs_async_transport
def test_flush_async_gives_up_at_its_timeout_and_the_message_is_delivered_later(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Later may be after the loop was closed: nobody is told any more, and nothing is logged."""
    answer = threading.Event()
    collector.answer = lambda call: Reply(delay=answer)

    async def main() -> SegmentIntegration:
        integration = _init_async(collector)
        capture()
        await sentry_sdk.get_client().flush_async(timeout=0.1)
        assert integration.stats.queued == 1
        await sentry_sdk.get_client().close_async(timeout=0.1)
        return integration

    integration = asyncio.run(main())
    answer.set()
    assert integration.flush(10.0)
    assert integration.stats.delivered == 1
    assert not [record for record in caplog.records if record.name == "concurrent.futures"]


@needs_async_transport
def test_close_async_ends_the_mirrors_thread(
    collector: Collector, mirror_threads: Callable[[], list[threading.Thread]]
) -> None:
    async def main() -> threading.Thread:
        _init_async(collector)
        capture()
        [thread] = mirror_threads()
        client: Any = sentry_sdk.get_client()
        await client.close_async(timeout=10.0)
        return thread

    thread = asyncio.run(main())
    thread.join(timeout=10.0)
    assert not thread.is_alive()
    assert len(collector.messages) == 1


class TakesKeywords(Transport):
    """A transport whose `flush` is as the SDK calls it, and no other way."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.flushed: list[float] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        pass

    def flush(self, *, timeout: float, callback: Any = None) -> None:  # type: ignore[override]
        self.flushed.append(timeout)


def test_a_transport_is_flushed_in_the_way_the_sdk_does_it(
    collector: Collector, init: Init
) -> None:
    transport = TakesKeywords()
    init(transport=transport)
    capture()
    sentry_sdk.flush(7.0)
    assert transport.flushed == [7.0]
    assert len(collector.messages) == 1


def test_a_fault_in_the_mirrors_flush_is_not_sentrys(
    collector: Collector, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = TakesKeywords()
    init(transport=transport)
    capture()

    # Raises without a frame of its own: one of this module would be the application's.
    fail = operator.attrgetter("no_such_attribute")
    for method in ("begin_flush", "finish_flush"):
        with monkeypatch.context() as broken:
            broken.setattr(f"sentry_segment.delivery.worker.Worker.{method}", fail)
            sentry_sdk.flush(1.0)
    assert transport.flushed == [1.0, 1.0]


def test_a_client_that_is_closed_during_its_first_event_stays_closed(
    init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    integration = init()
    workers_for = integration._workers_for

    def close_meanwhile(options: dict[str, Any]) -> Any:
        sentry_sdk.get_client().close(timeout=0.0)
        return workers_for(options)

    monkeypatch.setattr(integration, "_workers_for", close_meanwhile)
    sentry_sdk.capture_exception(ValueError())
    assert sentry_sdk.get_client().transport is None


def test_a_copied_transport_is_no_endless_recursion(init: Init) -> None:
    init()
    capture()
    assert copy.copy(sentry_sdk.get_client().transport) is not None
