"""The integration's place in the SDK: which clients are mirrored, from their first event on."""

from __future__ import annotations

import inspect
import logging
import pickle
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import sentry_sdk
import sentry_sdk.transport
from sentry_sdk.scope import Scope
from sentry_sdk.utils import event_from_exception

from clients import OTHER_KEY, keys_by_user
from collector import Collector
from sentry_segment import SegmentIntegration
from support import WRITE_KEY, Init, capture

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
