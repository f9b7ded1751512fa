"""Messages on their way through the spool: written, sent, removed, flushed, refused."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from collector import Call, Collector, Reply
from faults import arrived, hold
from scripts import run
from sentry_segment import DeliveryError, TrackMessage
from spooling import ours
from sqlite_spools import (
    adds_up,
    kept,
    leave,
    outage,
    track,
    users,
    wait_until,
)
from support import Init, capture


def without_sent_at(call: Call) -> list[dict[str, Any]]:
    """The messages of a request."""
    body = {name: value for name, value in call.json.items() if name != "sentAt"}
    messages: list[dict[str, Any]] = body["batch"] if call.path == "/v1/batch" else [body]
    return messages


# On the way


def test_a_message_is_in_the_file_while_it_is_sent_and_gone_when_it_is_delivered(
    collector: Collector, init: Init, path: Path
) -> None:
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture()
    arrived(collector)
    assert kept(path) == without_sent_at(collector.calls[0])
    stats = integration.stats
    assert (stats.mirrored, stats.queued, stats.spooled, stats.delivered) == (1, 0, 1, 0)
    go.set()
    assert integration.flush(10.0)
    assert kept(path) == []
    stats = integration.stats
    assert (stats.mirrored, stats.queued, stats.spooled, stats.delivered) == (1, 0, 0, 1)


@pytest.mark.parametrize("spooled", [False, True], ids=["without", "with"])
def test_a_message_is_delivered_as_it_was_made_with_a_spool_and_without(
    spooled: bool, collector: Collector, init: Init, path: Path
) -> None:
    made: list[TrackMessage] = []

    def edit(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        message["properties"].update(text="ünï 😀 \0", number=1.5, nothing=None)
        made.append(copy.deepcopy(message))
        return message

    integration = init(segment={"spool": path if spooled else None, "before_track": edit})
    go = hold(collector)
    for n in range(50):
        capture(id=f"u{n}")
        arrived(collector)
    wait_until(lambda: not spooled or integration.stats.queued == 0)
    go.set()
    assert integration.flush(10.0)
    assert [call.path for call in collector.calls] == ["/v1/track", "/v1/batch"]
    assert [each for call in collector.calls for each in without_sent_at(call)] == made
    assert path.exists() == spooled


def test_what_before_track_made_is_what_is_spooled(
    collector: Collector, init: Init, path: Path
) -> None:
    def edit(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        message["userId"] = "somebody"
        return message

    integration = init(segment={"spool": path, "before_track": edit})
    outage(collector)
    capture(id="a name")
    wait_until(lambda: integration.stats.spooled == 1)
    assert [message["userId"] for message in kept(path)] == ["somebody"]


def test_while_a_request_hangs_the_messages_after_it_are_spooled(
    collector: Collector, init: Init, path: Path
) -> None:
    integration = init(segment={"spool": path, "timeout": 60.0})
    go = hold(collector)
    captured = [capture()]
    arrived(collector)
    captured += [capture() for _ in range(5)]
    wait_until(lambda: integration.stats.spooled == 6)
    assert integration.stats.queued == 0
    assert [message["messageId"] for message in kept(path)] == captured
    assert len(collector.calls) == 1
    go.set()


def test_stats_add_up_at_any_moment_with_a_spool(
    collector: Collector, init: Init, path: Path
) -> None:
    leave(path, *[track(f"left{n}") for n in range(100)])
    integration = init(segment={"spool": path})
    capture()
    envelope = sentry_sdk.envelope.Envelope()
    envelope.add_event({"exception": {"values": [{"type": "E"}]}, "user": {"id": "u1"}})  # type: ignore[typeddict-item, unused-ignore]
    done = threading.Event()
    wrong: list[Any] = []

    def read() -> None:
        while not done.is_set():
            stats = integration.stats
            if not adds_up(stats):
                wrong.append(stats)

    collector.answer = lambda call: Reply(422) if len(collector.calls) % 5 == 0 else None
    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(1_000):
        integration._mirror.mirror(envelope)
    assert integration.flush(30.0)
    done.set()
    reader.join()
    assert wrong == []
    stats = integration.stats
    assert (stats.mirrored, stats.queued, stats.spooled) == (1_001, 0, 0)
    assert stats.recovered == 100
    assert stats.dropped["send_error"] > 0
    assert kept(path) == []


# Flush


def test_a_flush_is_done_when_the_messages_are_delivered(
    collector: Collector, init: Init, path: Path
) -> None:
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture()
    arrived(collector)
    capture()
    assert not integration.flush(0.2)
    assert integration.stats.spooled == 2
    go.set()
    assert integration.flush(10.0)
    assert len(collector.messages) == 2


def test_a_flush_waits_for_no_other_process(collector: Collector, init: Init, path: Path) -> None:
    integration = init(segment={"spool": path})
    capture(id="own")
    assert integration.flush(10.0)
    leave(path, track("left"))
    hold(collector)
    assert integration.flush(10.0)
    assert integration.stats.recovered == 0


@pytest.mark.parametrize("answered", [True, False], ids=["delivered", "in an outage"])
def test_where_no_thread_can_be_started_a_flush_spools_and_sends(
    answered: bool, collector: Collector, path: Path
) -> None:
    if not answered:
        outage(collector)
    ended = run(
        collector,
        f"""
        integration = init(default_integrations=False, shutdown_timeout=0.5)
        threading.Thread.start = lambda self: (_ for _ in ()).throw(
            RuntimeError("can't create new thread at interpreter shutdown")
        )
        capture("E")
        done = integration.flush({60.0 if answered else 0.5})
        print(done, integration.stats.delivered, integration.stats.spooled)
        """,
        spool=path,
    )
    assert ended.out == ("True 1 0\n" if answered else "False 0 1\n"), ended.err
    assert len(kept(path)) == (0 if answered else 1)
    assert "could not be delivered" not in ended.err


def test_where_no_thread_can_be_started_a_later_flush_sends_what_was_spooled(
    collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_thread = threading.Thread.start

    def start_another(thread: threading.Thread) -> None:
        if ours(thread):
            raise RuntimeError("can't start new thread")
        start_thread(thread)

    monkeypatch.setattr(threading.Thread, "start", start_another)
    integration = init(segment={"spool": path})
    outage(collector, status=429)
    for user in ("first", "second"):
        capture(id=user)
        assert not integration.flush(0.2)
    assert [message["userId"] for message in kept(path)] == ["first", "second"]
    assert integration.stats.spooled == 2
    collector.answer = None
    capture(id="third")
    assert integration.flush(10.0)
    assert users(collector) == ["first", "second", "third"]
    assert adds_up(integration.stats)
    assert kept(path) == []


# Refusals


def test_on_error_gets_what_was_left_and_what_is_new_as_it_was(
    collector: Collector, init: Init, path: Path
) -> None:
    given: list[tuple[DeliveryError, list[TrackMessage]]] = []
    made: list[Any] = [track("left")]

    def remember(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        made.append(copy.deepcopy(message))
        return message

    def on_error(error: Any, messages: list[TrackMessage]) -> None:
        given.append((error, messages))

    leave(path, made[0])
    collector.answer = lambda call: Reply(422)
    integration = init(segment={"spool": path, "before_track": remember, "on_error": on_error})
    capture(id="own")
    assert integration.flush(10.0)
    wait_until(lambda: integration.stats.spooled == 0)
    assert [message for _, messages in given for message in messages] == made
    assert {error.status for error, _ in given} == {422}
    assert integration.stats.dropped["send_error"] == 2
    assert kept(path) == []


@pytest.mark.parametrize("offending", [0, 4, 9])
def test_of_a_batch_only_the_offending_message_is_lost(
    offending: int, collector: Collector, init: Init, path: Path
) -> None:
    messages = [track(f"u{n}") for n in range(10)]
    leave(path, *messages)
    refused: list[Any] = []
    bad = f'"u{offending}"'.encode()
    collector.answer = lambda call: Reply(400) if bad in call.body else None
    integration = init(
        segment={"spool": path, "on_error": lambda error, messages: refused.extend(messages)}
    )
    capture(id="own")
    collector.wait_for_messages(10)
    wait_until(lambda: integration.stats.spooled == 0)
    assert refused == [messages[offending]]
    del messages[offending]
    assert users(collector) == [*(each["userId"] for each in messages), "own"]
    stats = integration.stats
    assert (stats.recovered, stats.dropped["send_error"]) == (10, 1)
    assert adds_up(stats)
    assert kept(path) == []


def test_a_message_without_a_json_form_blocks_no_other(
    collector: Collector, init: Init, path: Path
) -> None:
    def edit(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        if message["userId"] == "bad":
            message["properties"]["object"] = object()
        return message

    refused: list[Any] = []
    integration = init(
        segment={
            "spool": path,
            "before_track": edit,
            "on_error": lambda error, messages: refused.extend(messages),
        }
    )
    go = hold(collector)
    for user in ("first", "bad", "last"):
        capture(id=user)
        arrived(collector)
    go.set()
    assert integration.flush(10.0)
    assert users(collector) == ["first", "last"]
    assert [message["userId"] for message in refused] == ["bad"]
    stats = integration.stats
    assert (stats.delivered, stats.dropped["internal_sdk_error"]) == (2, 1)
    assert adds_up(stats)
    assert kept(path) == []
