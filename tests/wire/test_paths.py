"""Servers that know one of the two paths alone, `/v1/batch`, as Segment's own libraries do."""

from __future__ import annotations

import random

import pytest

from collector import Collector, Reply
from faults import fault, in_turn, knows_batch_alone, pile_up, silent
from sentry_segment import TrackMessage
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions
from sentry_segment.wire.verdict import Outcome
from support import Init, capture
from virtual import options

TRACK, BATCH = "/v1/track", "/v1/batch"


def paths(segment: Collector) -> list[str]:
    return [call.path for call in segment.calls]


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("gzip", [False, True])
def test_a_message_goes_as_a_batch_where_the_path_for_one_is_not_known_and_so_do_those_after_it(
    status: int, gzip: bool, segment: Collector, init: Init
) -> None:
    segment.answer = knows_batch_alone(status)
    integration = init(segment={"host": segment.url, "gzip": gzip})
    captured = []
    for _ in range(3):
        captured.append(capture())
        assert integration.flush(10.0)
    assert paths(segment) == [TRACK, BATCH, BATCH, BATCH]
    assert [message["messageId"] for message in segment.messages] == captured
    assert all(len(call.json["batch"]) == 1 for call in segment.calls[1:])
    assert all("x-retry-count" not in call.headers for call in segment.calls)
    stats = integration.stats
    assert (stats.delivered, stats.retries, stats.last_error) == (3, 0, None)
    assert sum(stats.dropped.values()) == 0


def test_a_server_that_knows_both_paths_is_asked_for_a_lone_message_by_its_own(
    segment: Collector, init: Init
) -> None:
    integration = init(segment={"host": segment.url})
    pile_up(segment, capture, capture, capture)
    assert integration.flush(10.0)
    capture()
    assert integration.flush(10.0)
    assert paths(segment) == [TRACK, BATCH, TRACK]


@pytest.mark.parametrize("status", [404, 405])
def test_where_neither_path_is_known_the_message_is_refused_and_the_next_is_tried_as_before(
    status: int, segment: Collector, init: Init, caplog: pytest.LogCaptureFixture
) -> None:
    lost: list[tuple[Exception, list[TrackMessage]]] = []
    integration = init(segment={"host": segment.url, "on_error": lambda *given: lost.append(given)})
    segment.answer = lambda call: Reply(status, body=b"no such path")
    refused = capture()
    assert integration.flush(10.0)
    segment.answer = None
    taken = capture()
    assert integration.flush(10.0)
    assert paths(segment) == [TRACK, BATCH, TRACK]
    [(error, [message])] = lost
    assert message["messageId"] == refused
    assert getattr(error, "status", None) == status
    assert str(error) == f"HTTP {status}: no such path"
    assert f"refused 1 message(s) for good: HTTP {status}: no such path" in caplog.text
    assert [message["messageId"] for message in segment.messages] == [taken]
    assert (integration.stats.retries, integration.stats.dropped["send_error"]) == (0, 1)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Reply(403), "HTTP 403"), (Reply(400), "HTTP 400")],
)
def test_what_the_path_for_batches_answers_counts(
    answer: Reply, error: str, segment: Collector, init: Init
) -> None:
    segment.answer = in_turn(404, answer)
    integration = init(segment={"host": segment.url})
    capture()
    assert integration.flush(10.0)
    assert integration.stats.last_error == f'{error}: {{"success": true}}'
    assert integration.stats.dropped["send_error"] == 1


@pytest.mark.parametrize("answer", [Reply(503), fault()])
def test_a_batch_that_could_not_be_sent_is_tried_again(
    answer: Reply, segment: Collector, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.0005)
    left = [answer]
    knows = knows_batch_alone()
    segment.answer = lambda call: left.pop() if left and call.path == BATCH else knows(call)
    integration = init(segment={"host": segment.url})
    capture()
    assert integration.flush(10.0)
    assert integration.stats.retries == 1
    assert len(segment.messages) == 1
    assert segment.calls[-1].headers["x-retry-count"] == "1"


def test_the_limit_of_time_is_one_for_both(segment: Collector) -> None:
    segment.answer = in_turn(404, fault(then=silent))
    api = SegmentApi(options(segment), NetworkOptions())
    verdict = api.send([b"{}"], retry_count=0, time_limit=0.3)
    api.close()
    assert verdict.outcome is Outcome.RETRY
    assert "ReadTimeout" in verdict.error
    assert paths(segment) == [TRACK, BATCH]


@pytest.mark.parametrize(("tries", "sent"), [(0, None), (1, "1"), (50, "50"), (51, "50")])
def test_the_count_of_retries_stops_where_segment_might_refuse(
    tries: int, sent: str | None, segment: Collector
) -> None:
    api = SegmentApi(options(segment), NetworkOptions())
    assert (
        api.send([b'{"messageId": "1"}'], retry_count=tries, time_limit=10.0).outcome
        is Outcome.DELIVERED
    )
    api.close()
    assert segment.calls[0].headers.get("x-retry-count") == sent
