"""A Segment that fails: what each fault means for the messages, for Sentry and for who flushes."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

import pytest
import sentry_sdk

from collector import Collector, Reply
from faults import (
    ERROR,
    OK,
    arrived,
    dripping,
    fault,
    in_turn,
    pile_up,
    pouring,
    refuse,
    reset,
    silent,
    slowly,
)
from sentry_segment import DeliveryError, SegmentIntegration, TrackMessage
from support import Init, capture, some

T = TypeVar("T")

TIMEOUT = 0.6  # for faults that last until the client has had enough


class GivenUp(list[tuple[Exception, list[str], str]]):
    """An `on_error` that notes what it is told: the error, the messageIds, and in which thread."""

    def __call__(self, error: Exception, messages: list[TrackMessage]) -> None:
        ids = [message["messageId"] for message in messages]
        self.append((error, ids, threading.current_thread().name))


@pytest.fixture
def given_up() -> GivenUp:
    return GivenUp()


@pytest.fixture
def mirror(
    segment: Collector, init: Init, given_up: GivenUp, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., SegmentIntegration]]:
    """`mirror(**options)`: the SDK, with Segment on a port of its own and short backoffs."""
    monkeypatch.setattr(random, "random", lambda: 0.0005)
    yield lambda **options: init(
        max_value_length=100_000,  # older SDKs cut texts to 1,024
        segment={"host": segment.url, "on_error": given_up, **options},
    )
    segment.answer = None


Mirror = Callable[..., SegmentIntegration]


def ids(collector: Collector) -> list[str]:
    """The messages that were accepted."""
    return [message["messageId"] for message in collector.messages]


def has_events(sentry: Collector, events: int) -> bool:
    """Whether Sentry gets so many."""
    return sentry.wait_for(lambda: len(sentry.events) == events)


def in_time(function: Callable[..., T], timeout: float) -> T:
    """The result of a call with this timeout, which is not to take much longer than that."""
    result: Future[T] = Future()
    threading.Thread(
        target=lambda: result.set_result(function(timeout=timeout)), daemon=True
    ).start()
    return result.result(timeout + 5.0)


# Try again

HUGE = b"X-Huge: " + b"x" * 200_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
TWO_LENGTHS = b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

ENDING: list[tuple[str, Reply, str]] = [
    *(
        (f"{status}", Reply(status), f"HTTP {status}")
        for status in (408, 410, 429, 460, 500, 502, 503, 504, 599)
    ),
    ("endless header", fault(OK + b"X-Endless: ", pouring), "RemoteProtocolError"),
    ("huge header", fault(OK + HUGE), "RemoteProtocolError"),
    ("resets", fault(then=reset), "ReadError"),
    ("resets within the head", fault(OK + b"X-Half: ", reset), "ReadError"),
    ("closes without an answer", fault(), "RemoteProtocolError"),
    ("closes within the head", fault(OK), "RemoteProtocolError"),
    ("bytes", fault(b"\x00\xff\xfe\r\n\r\n"), "RemoteProtocolError"),
    ("another protocol", fault(b"SSH-2.0-OpenSSH_9.6\r\n"), "RemoteProtocolError"),
    ("no status", fault(b"HTTP/1.1 abc\r\n\r\n"), "RemoteProtocolError"),
    ("no length", fault(OK + b"Content-Length: abc\r\n\r\n"), "RemoteProtocolError"),
    ("two lengths", fault(OK + TWO_LENGTHS), "RemoteProtocolError"),
    ("null in a header", fault(OK + b"X-Null: \x00\r\n\r\n{}"), "RemoteProtocolError"),
    ("500, no end of the body", fault(ERROR + b"\r\n", pouring), "HTTP 500"),
    ("500, resets within the body", fault(ERROR + b"Content-Length: 9\r\n\r\n", reset), "HTTP 500"),
    ("500, broken chunks", fault(ERROR + CHUNKED + b"none"), "HTTP 500"),
]


LASTING: list[tuple[str, Reply, str]] = [
    ("never answers", fault(then=silent), "ReadTimeout"),
    ("half a status line", fault(b"HTTP/1.1 2", silent), "ReadTimeout"),
    ("half a head", fault(OK + b"Content-Type: ", silent), "ReadTimeout"),
    ("drips the status line", fault(b"HTTP/1.1 200 ", dripping(b"O")), "ReadTimeout"),
    ("drips a header", fault(OK + b"X-Drip: ", dripping()), "ReadTimeout"),
    ("drips headers", fault(OK, dripping(b"X-Drip: 1\r\n")), "ReadTimeout"),
    ("drips 100s", fault(then=dripping(b"HTTP/1.1 100 Continue\r\n\r\n")), "ReadTimeout"),
    ("500, drips the body", fault(ERROR + b"\r\n", dripping()), "HTTP 500"),
]


NEVER_A_MESSAGES_FAULT = ("HTTP 408", "HTTP 410", "HTTP 429", "HTTP 460")


@some
@pytest.mark.parametrize(
    ("answer", "error", "timeout"),
    [pytest.param(reply, error, 10.0, id=name) for name, reply, error in ENDING]
    + [pytest.param(reply, error, TIMEOUT, id=name) for name, reply, error in LASTING],
)
def test_a_fault_that_may_pass_is_tried_again_and_holds_up_nobody(
    answer: Reply,
    error: str,
    timeout: float,
    collector: Collector,
    segment: Collector,
    mirror: Mirror,
    given_up: GivenUp,
) -> None:
    integration = mirror(timeout=timeout)
    segment.answer = lambda call: answer
    first = capture()
    arrived(segment)
    later = [capture(), capture()]

    assert has_events(collector, 3)
    assert in_time(integration.flush, 0.02) is False
    in_time(sentry_sdk.flush, 0.02)
    in_time(sentry_sdk.get_client().close, 0.02)
    stats = integration.stats
    assert (stats.mirrored, stats.queued, stats.delivered) == (3, 3, 0)

    segment.answer = None
    segment.wait_for_messages(3)
    assert integration.flush(10.0)
    assert sorted(ids(segment)) == sorted([first, *later])
    if error not in NEVER_A_MESSAGES_FAULT:
        # The first may be to blame: then the others are tried before it.
        assert [call.message_ids for call in segment.calls[:2]] == [[first]] * 2
    else:
        *tries, last = segment.calls
        assert [call.message_ids for call in tries] == [[first]] * len(tries)
        assert last.message_ids == later
        counts = [call.headers.get("x-retry-count") for call in tries]
        assert counts == [None, *map(str, range(1, len(tries)))]
        assert len(tries) >= 2
        assert integration.stats.retries == len(tries) - 1
    stats = integration.stats
    assert stats.delivered == 3
    assert error in (stats.last_error or "")
    assert sum(stats.dropped.values()) == 0
    assert not given_up


def test_nobody_waits_longer_than_asked_for_an_exchange_under_way(
    collector: Collector, segment: Collector, mirror: Mirror
) -> None:
    integration = mirror(timeout=60.0)
    segment.answer = in_turn(fault(then=silent))
    event_id = capture()
    arrived(segment)
    assert in_time(integration.flush, 0.02) is False
    in_time(sentry_sdk.flush, 0.02)
    in_time(sentry_sdk.get_client().close, 0.02)
    assert [event["event_id"] for event in collector.events] == [event_id]
    segment.stop()  # which ends the exchange
    segment.start()
    segment.wait_for_messages(1)
    assert ids(segment) == [event_id]


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(fault(then=reset, taken=True), id="resets"),
        pytest.param(fault(taken=True), id="closes"),
        pytest.param(fault(OK + b"Content-Le", taken=True), id="half a head"),
    ],
)
def test_where_an_answer_got_lost_the_messages_are_repeated_as_they_were(
    lost: Reply, segment: Collector, mirror: Mirror
) -> None:
    integration = mirror()
    captured: list[str] = []
    pile_up(segment, *[lambda: captured.append(capture())] * 4, then=in_turn(lost))
    assert integration.flush(10.0)
    captured.append(capture())
    assert integration.flush(10.0)
    first, *batch, last = captured
    # The repeats were accepted as well: it is by the messageId that Segment knows them.
    assert ids(segment) == [first, *batch, *batch, last]
    assert [call.message_ids for call in segment.calls] == [[first], batch, batch, [last]]
    assert (integration.stats.delivered, integration.stats.retries) == (5, 1)


def test_what_was_captured_while_segment_was_down_arrives_once_in_order_when_it_is_back(
    collector: Collector, segment: Collector, mirror: Mirror, given_up: GivenUp
) -> None:
    integration = mirror()
    captured = [capture()]
    assert integration.flush(10.0)
    for _ in range(2):
        segment.stop()
        captured += [capture() for _ in range(20)]
        assert in_time(integration.flush, 0.1) is False
        assert has_events(collector, len(captured))
        assert "ConnectError" in (integration.stats.last_error or "")
        segment.start()
        assert integration.flush(10.0)
        assert ids(segment) == captured
    assert integration.stats.delivered == 41
    assert not given_up


def test_in_an_outage_the_oldest_messages_are_kept_and_the_newest_counted(
    segment: Collector, mirror: Mirror, given_up: GivenUp, caplog: pytest.LogCaptureFixture
) -> None:
    integration = mirror(max_queue_size=10)
    segment.answer = lambda call: Reply(503)
    captured = [capture() for _ in range(25)]
    stats = integration.stats
    assert (stats.mirrored, stats.queued, stats.dropped["queue_overflow"]) == (10, 10, 15)
    [line] = [each for each in caplog.messages if "max_queue_size" in each]
    assert "max_queue_size (10) is reached" in line

    segment.answer = None
    assert integration.flush(10.0)
    assert sorted(ids(segment)) == sorted(captured[:10])
    captured.append(capture())
    assert integration.flush(10.0)
    assert ids(segment)[10:] == captured[-1:]
    stats = integration.stats
    assert (stats.delivered, sum(stats.dropped.values())) == (11, 15)
    assert not given_up


# Final

FINAL = [
    *(300, 301, 302, 303, 304, 307, 308),
    *(400, 401, 402, 403, 409, 413, 422, 499),
    *(501, 505, 511, 600),
]


@pytest.mark.parametrize("status", FINAL)
def test_a_final_status_gives_the_message_up_and_the_next_one_is_delivered(
    status: int,
    collector: Collector,
    segment: Collector,
    mirror: Mirror,
    given_up: GivenUp,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Neither is followed or kept: it is no answer that means "try again".
    headers = {"Location": f"{collector.url}/v1/track", "Retry-After": "100"}
    segment.answer = in_turn(Reply(status, headers))
    integration = mirror()
    refused = capture()
    assert integration.flush(10.0)
    taken = capture()
    assert integration.flush(10.0)

    [(error, messages, thread)] = given_up
    assert isinstance(error, DeliveryError)
    assert (error.status, messages) == (status, [refused])
    assert thread == "sentry-segment"
    assert [call.message_ids for call in segment.calls] == [[refused], [taken]]
    assert ids(segment) == [taken]
    assert not collector.calls
    assert f"HTTP {status}" in caplog.text
    assert ("redirects are not followed" in caplog.text) == (300 <= status < 400)
    stats = integration.stats
    assert (stats.delivered, stats.retries, stats.dropped["send_error"]) == (1, 0, 1)
    assert f"HTTP {status}" in (stats.last_error or "")


def test_a_redirect_to_what_is_no_url_gives_the_message_up(
    segment: Collector, mirror: Mirror, caplog: pytest.LogCaptureFixture
) -> None:
    segment.answer = in_turn(Reply(302, {"Location": "http://portal:80a/login"}))
    integration = mirror()
    capture()
    assert integration.flush(10.0)
    assert integration.stats.dropped["send_error"] == 1
    assert "redirects are not followed" in caplog.text


REFUSAL = b"HTTP/1.1 422 Unprocessable Content\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(fault(REFUSAL + b"\r\n", pouring), id="no end of the body"),
        pytest.param(fault(REFUSAL + b"Content-Length: 9\r\n\r\n", reset), id="resets"),
        pytest.param(fault(REFUSAL + CHUNKED + b"none"), id="broken chunks"),
    ],
)
def test_whatever_follows_a_final_status_it_is_final(
    answer: Reply, segment: Collector, mirror: Mirror, given_up: GivenUp
) -> None:
    segment.answer = in_turn(answer)
    integration = mirror()
    refused = capture()
    assert integration.flush(10.0)
    taken = capture()
    assert integration.flush(10.0)
    assert [messages for _, messages, _ in given_up] == [[refused]]
    assert [call.message_ids for call in segment.calls] == [[refused], [taken]]
    assert integration.stats.retries == 0


@some
@pytest.mark.parametrize(
    ("status", "places"), [(400, [318]), (413, [318]), (400, [7, 8, 400]), (413, [0, 250, 499])]
)
def test_of_a_batch_only_the_refused_messages_are_lost(
    status: int, places: list[int], segment: Collector, mirror: Mirror, given_up: GivenUp
) -> None:
    refused: list[str] = []
    batch: list[str] = []

    def capture_one() -> None:
        batch.append(capture())
        if len(batch) - 1 in places:
            refused.append(batch[-1])

    integration = mirror(timeout=60.0)  # the first is under way while 500 are captured
    pile_up(
        segment,
        capture,
        *[capture_one] * 500,
        then=refuse(lambda message: message["messageId"] in refused, status),
    )
    assert integration.flush(30.0)
    _, *taken = ids(segment)
    assert taken == [each for each in batch if each not in refused]
    assert [messages for _, messages, _ in given_up] == [[each] for each in refused]
    assert {getattr(error, "status", None) for error, _, _ in given_up} == {status}
    stats = integration.stats
    assert (stats.delivered, stats.retries) == (501 - len(refused), 0)
    assert stats.dropped["send_error"] == len(refused)
    # The first alone, the batch, and for each that is refused nine halvings, two requests each.
    assert len(segment.calls) <= 2 + 18 * len(refused)


# Delivered

LONG = b"Content-Length: 9999\r\n\r\n"
# Without the word of the close, the next request may be sent on the connection as it is closed.
SHORT = OK + b"Connection: close\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "timeout"),
    [
        pytest.param(fault(OK + b"\r\n{}", taken=True), 10.0, id="body until the end"),
        pytest.param(fault(OK + LONG + b"{}", taken=True), 10.0, id="half a body"),
        pytest.param(fault(OK + LONG + b"{}", reset, taken=True), 10.0, id="resets"),
        pytest.param(fault(SHORT + b"{}over-long", taken=True), 10.0, id="over-long"),
        pytest.param(fault(OK + CHUNKED + b"none", taken=True), 10.0, id="broken chunks"),
        pytest.param(
            fault(OK + b"Content-Encoding: gzip\r\n\r\nnone", taken=True), 10.0, id="broken gzip"
        ),
        pytest.param(fault(OK + b"\r\n", pouring, taken=True), 10.0, id="endless body"),
        pytest.param(fault(OK + LONG, silent, taken=True), TIMEOUT, id="no body"),
        pytest.param(fault(OK + LONG, dripping(), taken=True), TIMEOUT, id="drips the body"),
        pytest.param(
            fault(OK + CHUNKED, dripping(b"1\r\nx\r\n"), taken=True), TIMEOUT, id="drips chunks"
        ),
        pytest.param(fault(then=slowly(SHORT + b"{}"), taken=True), 10.0, id="slowly"),
        pytest.param(
            fault(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\n", taken=True), 10.0, id="100, 200"
        ),
        pytest.param(fault(b"HTTP/1.0 200 OK\r\n\r\n", taken=True), 10.0, id="HTTP/1.0"),
        pytest.param(Reply(201), 10.0, id="201"),
        pytest.param(Reply(204), 10.0, id="204"),
        pytest.param(Reply(299, body=b"\xff"), 10.0, id="299"),
    ],
)
def test_whatever_follows_a_2xx_the_message_is_delivered_and_not_repeated(
    answer: Reply, timeout: float, segment: Collector, mirror: Mirror, given_up: GivenUp
) -> None:
    integration = mirror(timeout=timeout)
    segment.answer = in_turn(answer)
    captured = [capture()]
    assert integration.flush(10.0)
    captured.append(capture())
    assert integration.flush(10.0)
    assert ids(segment) == captured
    stats = integration.stats
    assert (stats.delivered, stats.retries, stats.last_error) == (2, 0, None)
    assert not given_up


def test_an_id_that_is_too_long_in_bytes_alone_is_given_up_with_its_message(
    segment: Collector, mirror: Mirror, given_up: GivenUp
) -> None:
    integration = mirror()
    lost = capture(id="\N{GRINNING FACE}" * 9_000)
    sent = capture()
    assert integration.flush(10.0)
    assert ids(segment) == [sent]
    [(error, messages, _)] = given_up
    assert messages == [lost]
    assert "over Segment's limit" in str(error)
    assert integration.stats.dropped["send_error"] == 1


def test_a_message_given_up_is_told_under_the_id_that_it_was_sent_with(
    segment: Collector, init: Init
) -> None:
    """Even where the event had none, and it got one only when it was sent."""
    given_up: list[TrackMessage] = []
    integration = init(
        before_send=lambda event, hint: {**event, "event_id": "no id"},
        segment={"host": segment.url, "on_error": lambda error, lost: given_up.extend(lost)},
    )
    segment.answer = lambda call: Reply(403)
    capture()
    assert integration.flush(10.0)
    segment.answer = None
    [call] = segment.calls
    assert [message["messageId"] for message in given_up] == call.message_ids
