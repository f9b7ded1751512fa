"""`sentry_segment.testing`: blocks within and beside each other, and what they are spared."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from flask import Flask
from sentry_sdk.transport import Transport

from collecting import ids, init_bare, mirrors_threads
from collector import Collector, Reply
from sentry_segment import SegmentIntegration, TrackMessage
from sentry_segment.testing import capture_messages
from support import WRITE_KEY, Init, capture

# Blocks


def test_of_nested_blocks_each_gets_what_comes_while_it_is_open() -> None:
    init_bare()
    with capture_messages() as outer:
        capture(id="1")
        with capture_messages() as inner:
            capture(id="2")
        capture(id="3")
    capture_outside = capture_messages()
    assert [message["userId"] for message in outer] == ["1", "2", "3"]
    assert [message["userId"] for message in inner] == ["2"]
    with capture_outside as messages:
        capture(id="4")
    assert [message["userId"] for message in messages] == ["4"]


def test_blocks_may_be_closed_in_any_order(collector: Collector, init: Init) -> None:
    init()
    first, second = capture_messages(), capture_messages()
    first_messages, second_messages = first.__enter__(), second.__enter__()
    assert first_messages == second_messages == []
    first.__exit__(None, None, None)
    event_id = capture()
    second.__exit__(None, None, None)
    assert (ids(first_messages), ids(second_messages)) == ([], [event_id])
    capture(id="sent")
    assert [message["userId"] for message in collector.wait_for_messages(1)] == ["sent"]


def test_an_exception_within_the_block_leaves_it_and_ends_it(
    collector: Collector, init: Init
) -> None:
    init()
    with pytest.raises(LookupError), capture_messages() as messages:  # noqa: PT012
        capture()
        raise LookupError
    assert len(messages) == 1
    capture(id="sent")
    collector.wait_for_messages(1)


def test_what_waits_before_the_block_is_sent(collector: Collector, init: Init) -> None:
    integration = init()
    answer = threading.Event()
    collector.answer = lambda call: Reply(delay=answer)
    waiting = [capture(), capture()]
    with capture_messages() as messages:
        capture()
        assert not integration.flush(0.0)
        assert integration.stats.queued == 2
        answer.set()
        assert integration.flush(10.0)
        assert [message["messageId"] for message in collector.messages] == waiting
    assert len(messages) == 1
    stats = integration.stats
    assert (stats.mirrored, stats.delivered, stats.queued) == (3, 3, 0)


def test_a_client_closed_within_the_block_stays_closed() -> None:
    init_bare()
    client = sentry_sdk.get_client()
    with capture_messages():
        capture()
        client.close()
    assert client.transport is None


def test_a_closed_client_is_not_opened_again(collector: Collector, init: Init) -> None:
    init()
    sentry_sdk.get_client().close()
    with capture_messages() as messages:
        sentry_sdk.capture_exception(ValueError())
    assert not messages
    assert sentry_sdk.get_client().transport is None


def test_a_transport_of_the_applications_own_stays_within_the_block() -> None:
    class Own(Transport):
        envelopes = 0

        def capture_envelope(self, envelope: Any) -> None:
            self.envelopes += 1

    own = Own()
    sentry_sdk.init(transport=own, integrations=[SegmentIntegration()])
    with capture_messages() as messages:
        capture()
        assert isinstance(sentry_sdk.get_client().transport, Own)
    assert own.envelopes == 1
    assert len(messages) == 1
    assert sentry_sdk.get_client().transport is own


def test_what_others_left_in_the_spool_waits_until_the_block_is_over(
    collector: Collector, tmp_path: Path
) -> None:
    before = mirrors_threads()
    with capture_messages():
        integration = init_bare(write_key=WRITE_KEY, host=collector.url, spool=tmp_path / "spool")
        integration.setup_once_with_options(
            {**sentry_sdk.get_client().options, "dsn": collector.dsn}
        )
        capture()
        integration.flush(10.0)
        assert mirrors_threads() <= before
    assert not list(tmp_path.iterdir())


def test_the_methods_of_production_are_in_place_again(init: Init) -> None:
    from sentry_segment.delivery.worker import Worker
    from sentry_segment.sdk.mirror import Mirror

    def methods() -> list[Callable[..., Any]]:
        return [SegmentIntegration.attach, Mirror.mirror, Mirror.drop, Worker.put, Worker.resume]

    before = methods()
    with capture_messages():
        assert not [a for a, b in zip(before, methods(), strict=True) if a is b]
    assert methods() == before


# What is said


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "sentry_segment")
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.name == "sentry_segment" and "write key:" not in record.getMessage()
    ]


def test_why_an_event_was_not_mirrored_is_logged(said: Callable[[], list[str]]) -> None:
    init_bare()
    with capture_messages() as messages:
        capture(user={"email": "someone@example.com"})
        sentry_sdk.set_user({"id": "u1"})
        sentry_sdk.capture_message("no error")
        capture()
    assert len(messages) == 1
    no_id, no_exception = said()
    assert "its user has no id" in no_id
    assert "it has no exception" in no_exception


def test_what_before_track_drops_is_logged_each_time(said: Callable[[], list[str]]) -> None:
    answers = iter([None, ValueError("no"), ValueError("no"), KeyboardInterrupt()])

    def before_track(message: TrackMessage, event: dict[str, Any]) -> TrackMessage | None:
        answer = next(answers)
        if answer is not None:
            raise answer
        return None

    integration = init_bare(before_track=before_track)
    with capture_messages() as messages:
        for _ in range(3):
            capture()
        with pytest.raises(KeyboardInterrupt):
            capture()
    assert not messages
    assert integration.stats.dropped["before_track"] == 4
    returned, *raised = said()
    assert "before_track returned a NoneType" in returned
    assert raised == 2 * ["before_track raised ValueError: no"]


@pytest.mark.parametrize("initialised", [True, False])
def test_without_an_integration_it_is_logged_how_to_get_one(
    said: Callable[[], list[str]], initialised: bool
) -> None:
    if initialised:
        sentry_sdk.init()
    with capture_messages() as messages:
        sentry_sdk.capture_exception(ValueError())
    assert not messages
    [line] = said()
    assert "sentry_sdk.init(integrations=[SegmentIntegration()])" in line


def test_where_nothing_was_captured_nothing_is_logged(said: Callable[[], list[str]]) -> None:
    init_bare()
    with capture_messages() as messages:
        pass
    assert not messages
    assert not said()


# A web application


def test_a_view_reports_its_errors_with_the_right_user() -> None:
    app = Flask(__name__)
    app.testing = True

    @app.get("/checkout")
    def checkout() -> str:
        sentry_sdk.set_user({"id": "1906"})
        raise KeyError("address")

    init_bare()
    with capture_messages() as messages, pytest.raises(KeyError):
        app.test_client().get("/checkout?express=1")
    [message] = messages
    assert message["userId"] == "1906"
    assert message["properties"]["exceptionType"] == "KeyError"
    assert message["context"]["page"]["search"] == "express=1"
