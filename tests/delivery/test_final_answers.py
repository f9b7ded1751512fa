"""What Segment answers for good: a refusal gives one message up, a 2xx is not repeated."""

from __future__ import annotations

import pytest

from collector import Collector, Reply
from faults import (
    CHUNKED,
    OK,
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
from given_up import TIMEOUT, GivenUp, Mirror, ids
from sentry_segment import DeliveryError, TrackMessage
from support import Init, capture, some

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


@some
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
