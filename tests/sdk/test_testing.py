"""`sentry_segment.testing`: what users' own tests see of the messages."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.threading import ThreadingIntegration

from collecting import ids, init_bare, mirrors_threads
from collector import Collector
from scripts import run
from sentry_segment import SegmentIntegration, TrackMessage
from sentry_segment.testing import capture_messages
from support import WRITE_KEY, Init, capture


def test_a_message_is_collected_as_segment_would_get_it(collector: Collector, init: Init) -> None:
    init(environment="production")
    sent_id = capture(id="1906", ip_address="198.51.100.6")
    [sent] = collector.wait_for_messages(1)
    with capture_messages() as messages:
        event_id = capture(id="1906", ip_address="198.51.100.6")
    [message] = messages
    del sent["sentAt"]  # the request's
    assert message["timestamp"] > sent["timestamp"]
    sent["timestamp"] = message["timestamp"]
    assert json.dumps(message) == json.dumps(sent).replace(sent_id, event_id)


def test_nothing_is_sent_and_no_thread_started(collector: Collector, init: Init) -> None:
    integration = init()
    before = mirrors_threads()
    with capture_messages() as messages:
        collected = [capture() for _ in range(3)]
        assert mirrors_threads() <= before
        assert integration.flush(10.0)
        sentry_sdk.flush(10.0)
    assert ids(messages) == collected
    last = capture()
    assert [message["messageId"] for message in collector.wait_for_messages(1)] == [last]
    assert not [call for call in collector.calls if call.message_ids != [last]]
    assert len(messages) == 3


def test_sentry_gets_its_events_as_ever(collector: Collector, init: Init) -> None:
    init()
    with capture_messages():
        event_id = capture()
    sentry_sdk.flush(10.0)
    assert [event["event_id"] for event in collector.events] == [event_id]


@pytest.mark.parametrize("write_key", [None, "", WRITE_KEY])
@pytest.mark.parametrize("with_dsn", [False, True])
def test_neither_a_dsn_nor_a_write_key_is_needed(
    collector: Collector, write_key: str | None, with_dsn: bool
) -> None:
    integration = SegmentIntegration(write_key, host=collector.url)
    sentry_sdk.init(dsn=collector.dsn if with_dsn else None, integrations=[integration])
    with capture_messages() as messages:
        event_id = capture()
    assert ids(messages) == [event_id]
    assert integration.stats.delivered == 1


def test_after_the_block_a_client_without_a_dsn_is_as_before() -> None:
    init_bare()
    with capture_messages():
        capture()
    assert sentry_sdk.get_client().transport is None
    with capture_messages() as messages:
        capture()
    assert len(messages) == 1


def test_after_the_block_an_integration_without_a_write_key_mirrors_nothing(
    collector: Collector,
) -> None:
    integration = SegmentIntegration("", host=collector.url)
    sentry_sdk.init(dsn=collector.dsn, integrations=[integration])
    before = sentry_sdk.get_client().transport
    with capture_messages():
        capture()
        kept = sentry_sdk.get_client().transport
    assert sentry_sdk.get_client().transport is before
    sentry_sdk.get_client().transport = kept  # as if somebody had wrapped it within the block
    capture()
    sentry_sdk.flush(10.0)
    assert not collector.calls
    assert len(collector.events) == 2
    assert integration.stats.mirrored == 1


def test_an_integration_with_a_write_key_sends_as_soon_as_there_is_a_dsn_and_no_block(
    collector: Collector,
) -> None:
    integration = SegmentIntegration(WRITE_KEY, host=collector.url)
    sentry_sdk.init(integrations=[integration])
    with capture_messages():
        capture(id="without a DSN")
        sentry_sdk.init(dsn=collector.dsn, integrations=[integration])
        capture(id="with one")
    capture(id="after the block")
    [message] = collector.wait_for_messages(1)
    assert message["userId"] == "after the block"


def test_a_transport_that_is_put_back_after_the_block_sends_nothing(collector: Collector) -> None:
    integration = SegmentIntegration(WRITE_KEY, host=collector.url)
    sentry_sdk.init(integrations=[integration])
    client = sentry_sdk.get_client()
    with capture_messages():
        capture()
        within = client.transport
    client.transport = within  # as pytest's monkeypatch does, where it replaced it meanwhile
    capture()
    assert integration.flush(10.0)
    assert not collector.calls
    with capture_messages() as messages:
        event_id = capture()
    assert ids(messages) == [event_id]


@pytest.mark.parametrize("first", ["integration", "block"])
def test_the_integration_may_be_made_before_the_block_or_within(first: str) -> None:
    if first == "integration":
        init_bare()
    with capture_messages() as messages:
        if first == "block":
            init_bare()
        capture()
    assert len(messages) == 1


def test_every_integration_in_the_process_is_collected(collector: Collector, init: Init) -> None:
    init()
    other = sentry_sdk.Client(integrations=[SegmentIntegration("another key")])
    with capture_messages() as messages:
        capture(id="one")
        with sentry_sdk.isolation_scope() as scope:
            scope.set_client(other)
            capture(id="two")
        capture(id="three")
    assert [message["userId"] for message in messages] == ["one", "two", "three"]


def test_captures_of_threads_and_tasks_are_collected() -> None:
    init_bare()

    async def in_tasks() -> None:
        async def task(user: str) -> None:
            await asyncio.sleep(0)
            capture(id=user)

        await asyncio.gather(*(task(f"task {n}") for n in range(20)))

    with capture_messages() as messages:
        running = [
            threading.Thread(target=lambda n=n: [capture(id=f"{n}.{i}") for i in range(20)])
            for n in range(5)
        ]
        for thread in running:
            thread.start()
        asyncio.run(in_tasks())
        for thread in running:
            thread.join()
    expected = {f"task {n}" for n in range(20)} | {f"{n}.{i}" for n in range(5) for i in range(20)}
    assert len(messages) == 120
    assert {message["userId"] for message in messages} == expected


def test_a_child_forked_while_another_thread_begins_a_block_goes_on(collector: Collector) -> None:
    ended = run(
        collector,
        """
        from sentry_segment import testing

        init()
        begun, over = threading.Event(), threading.Event()

        def begin():
            with testing._lock:
                begun.set()
                over.wait()

        with testing.capture_messages() as messages:
            threading.Thread(target=begin).start()
            begun.wait()
            if os.fork() == 0:
                signal.alarm(30)
                capture("child")
                os._exit(len(messages))
            print(os.waitstatus_to_exitcode(os.wait()[1]))
            over.set()
        """,
    )
    assert (ended.status, ended.out) == (0, "1\n"), ended.err
    assert not collector.calls


def test_an_error_that_ends_a_thread_is_collected() -> None:
    def fail() -> None:
        sentry_sdk.set_user({"id": "of the thread"})
        raise ValueError

    sentry_sdk.init(integrations=[SegmentIntegration(), ThreadingIntegration()])
    with capture_messages() as messages:
        thread = threading.Thread(target=fail)
        excepthook, threading.excepthook = threading.excepthook, lambda args: None
        thread.start()
        thread.join()
        threading.excepthook = excepthook
    assert [message["userId"] for message in messages] == ["of the thread"]


def test_before_track_edits_and_drops() -> None:
    def before_track(message: TrackMessage, event: dict[str, Any]) -> TrackMessage | None:
        message["properties"]["plan"] = ("enterprise", 3)
        return None if message["userId"] == "dropped" else message

    integration = init_bare(before_track=before_track)
    with capture_messages() as messages:
        capture(id="kept")
        capture(id="dropped")
    [message] = messages
    assert message["userId"] == "kept"
    assert message["properties"]["plan"] == ["enterprise", 3]  # as JSON has it
    assert integration.stats.dropped["before_track"] == 1


def test_a_message_of_more_than_32_kb_is_collected_cut() -> None:
    # Older SDKs cut texts to 1,024.
    sentry_sdk.init(integrations=[SegmentIntegration()], max_value_length=100_000)
    with capture_messages() as messages:
        event: Any = {
            "exception": {"values": [{"type": "ü" * 30_000}]},
            "user": {"id": "u1"},
            "timestamp": "2026-11-23T04:35:46+01:00",
        }
        sentry_sdk.capture_event(event)
    [message] = messages
    size = len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode())
    assert 31_900 < size <= 32_000
    assert message["properties"]["exceptionType"].endswith("...")
    assert message["timestamp"] == "2026-11-23T03:35:46.000000Z"


@pytest.mark.parametrize(
    ("value", "reason"), [(object(), "internal_sdk_error"), (["x"] * 20_000, "send_error")]
)
def test_what_could_not_be_sent_is_counted_and_logged_and_not_collected(
    value: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    def before_track(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        message["properties"]["extra"] = value
        return message

    integration = init_bare(before_track=before_track)
    with capture_messages() as messages:
        capture()
    assert not messages
    assert integration.stats.dropped[reason] == 1
    assert "can't be sent and was not collected" in caplog.text


def test_a_collected_message_is_the_tests_own() -> None:
    init_bare()
    with capture_messages() as outer, capture_messages() as inner:
        capture()
        inner[0]["properties"]["level"] = "changed"
    assert outer[0]["properties"]["level"] == "error"
