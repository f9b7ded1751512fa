"""What waits in memory, and is encoded there."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from sentry_segment.delivery.encoded import Encoded, Given
from sentry_segment.delivery.queue import MessageQueue
from sentry_segment.guest.log import ProblemLog, describe
from sentry_segment.mapping.encoding import EncodingError, encode
from sentry_segment.mapping.message import Secrets
from sentry_segment.mapping.odd_ids import type_shown
from sentry_segment.wire.bodies import fits

CHUNK = 500
"""Messages encoded ahead, and written to the spool in one transaction."""


class Memory:
    """The messages that wait in memory, the oldest first. For one thread at a time."""

    def __init__(self, queue: MessageQueue, secrets: Secrets, log: ProblemLog) -> None:
        self._queue = queue
        self._log = log
        self._secrets = secrets
        # Taken from the queue, and older than what is in it: encoded, and yet to be.
        self._encoded: deque[Encoded] = deque()
        self._taken: deque[Given] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not (self._encoded or self._taken or self._queue.waiting)

    @property
    def unencoded(self) -> int:
        """How many messages are yet to be encoded."""
        return len(self._taken) + self._queue.waiting

    def encode_ahead(self) -> None:
        """Encode what is next."""
        while len(self._encoded) < CHUNK and self._encode_next():
            pass

    def take_unsendable(self) -> list[Encoded]:
        """The oldest message, if it is known by now to have no JSON form."""
        if self._encoded and self._encoded[0].error is not None:
            return [self._encoded.popleft()]
        return []

    def take_batch(self) -> list[Encoded]:
        """The oldest messages that fit into one request; or one that has no JSON form."""
        batch: list[Encoded] = []
        size = 0
        while self._encoded or self._encode_next():
            first = self._encoded[0]
            size += len(first.body)
            # A message that has no JSON form is handed out alone.
            if batch and (first.error is not None or not fits(len(batch) + 1, size)):
                break
            batch.append(self._encoded.popleft())
            if first.error is not None:
                break
        return batch

    def put_back(self, messages: Sequence[Encoded]) -> None:
        """Have messages wait again, before all others."""
        self._encoded.extendleft(reversed(messages))

    def sendable(self) -> list[Encoded]:
        """What is encoded by now, but for what has no JSON form."""
        return [each for each in self._encoded if each.error is None]

    def let_go_sendable(self) -> None:
        """Forget all that: it is elsewhere now."""
        sendable = len(self.sendable())
        self._encoded = deque(each for each in self._encoded if each.error is not None)
        self._queue.let_go(sendable)

    def _encode_next(self) -> bool:
        """Encode the oldest message that is not yet; False where there is none."""
        if not self._taken:
            self._queue.take(CHUNK, self._taken)
            if not self._taken:
                return False
        message = self._taken.popleft()
        try:
            body = encode(message, self._secrets)
            self._encoded.append(Encoded(body, message))
            if (shown := type_shown(body)) is not None:
                self._log.warn(
                    "user_id",
                    f"A user id is a {shown} as Python shows it, by which Segment knows nobody: "
                    f"pass its text, as in sentry_sdk.set_user({{'id': str(user.id)}})",
                )
        except EncodingError as error:
            self._encoded.append(Encoded(given=message, error=error, secrets=self._secrets))
        except BaseException as error:
            # The message's own objects may raise anything, and must not end the thread. In
            # the main thread it may be a signal handler's: there it travels on.
            failed = EncodingError(f"the message has no JSON form: {describe(error)}")
            self._encoded.append(Encoded(given=message, error=failed, secrets=self._secrets))
            if threading.current_thread() is threading.main_thread():
                raise
        return True
