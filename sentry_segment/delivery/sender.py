"""The exchange with Segment: a request, in this thread or in one of its own, and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Protocol

from sentry_segment.delivery.exchange import in_own_thread
from sentry_segment.delivery.schedule import Delivery
from sentry_segment.guest.forks import OwnProcess
from sentry_segment.wire.verdict import Verdict


class Connection(Protocol):
    """What takes requests to Segment, one at a time."""

    requests: int
    """How many were made so far."""
    bytes_sent: int
    """Those of their bodies."""

    def send(self, messages: Sequence[bytes], retry_count: int, time_limit: float) -> Verdict:
        """Send encoded messages as one request, within `time_limit` seconds.

        `retry_count` is how often just these were tried before. Raises nothing but what a signal
        handler does meanwhile.
        """

    def close(self) -> None:
        """Close the connection. The next request opens another. Never raises, never waits."""

    def forget_connection(self) -> None:
        """Leave the connection to the parent process, in a child just forked."""


class Sender:
    """Makes the requests that `Delivery` wants made, and has it act on their verdicts."""

    def __init__(self, connection: Connection, delivery: Delivery, process: OwnProcess) -> None:
        self._connection = connection
        self._delivery = delivery
        self._process = process
        self._exchange: Future[Verdict] | None = None  # under way in a thread of its own

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way in a thread of its own, or yet to be acted on."""
        return self._exchange is not None

    def send(self, time_limit: float, done: Callable[[], object] | None = None) -> None:
        """Make the next request, if there is one.

        With `done`, only begin it: it is made in a thread of its own, where one can be had. That
        calls `done` in the end, and the verdict waits for `finish`.
        """
        try:
            request = self._delivery.next_request()
            if request is None:
                return
            send = partial(self._connection.send, request.messages, request.retry_count, time_limit)
            if done is not None:
                try:
                    self._exchange = in_own_thread(send, done)
                    return
                except RuntimeError:
                    pass  # no thread can be had
            verdict = send()
            if self._process.is_here:  # and this is not a greenlet in a forked child
                self._delivery.act_on(verdict)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread
            self._delivery.internal_error(error)

    def finish(self, wait: bool) -> None:
        """Act on the answer to a request in its own thread, if there is one by now."""
        exchange = self._exchange
        if exchange is None or not (wait or exchange.done()):
            return
        self._exchange = None
        try:
            self._delivery.act_on(exchange.result())
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread
            self._delivery.internal_error(error)

    def close(self) -> None:
        """Close the connection. The next request opens another."""
        self._connection.close()
