"""A Segment that fails for a while: nothing is lost or overtaken, nobody waits too long."""

from __future__ import annotations

import pytest
import sentry_sdk

from collector import Collector, Reply
from faults import (
    CHUNKED,
    ERROR,
    OK,
    arrived,
    dripping,
    fault,
    in_turn,
    pile_up,
    pouring,
    reset,
    silent,
)
from given_up import TIMEOUT, GivenUp, Mirror, has_events, ids, in_time
from support import capture, some

HUGE = b"X-Huge: " + b"x" * 200_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
TWO_LENGTHS = b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"

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
