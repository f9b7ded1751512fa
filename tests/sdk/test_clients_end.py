"""The end of a client, and the flushes before it, with Sentry's asynchronous transport too."""

from __future__ import annotations

import asyncio
import copy
import gc
import operator
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
import sentry_sdk.transport
from sentry_sdk.integrations.asyncio import AsyncioIntegration
from sentry_sdk.transport import Transport

from collector import Call, Collector, Reply
from sentry_segment import SegmentIntegration
from support import WRITE_KEY, Init, capture

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope


# Only newer SDKs have it, and only where anyio is installed.
AsyncHttpTransport: Any = getattr(sentry_sdk.transport, "AsyncHttpTransport", None)


needs_async_transport = pytest.mark.skipif(
    not getattr(sentry_sdk.transport, "ASYNC_TRANSPORT_AVAILABLE", False),
    reason="this SDK has no asynchronous transport",
)


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
