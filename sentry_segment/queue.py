"""The bounded queue between the threads that capture errors and the one that delivers them."""

from __future__ import annotations

import threading
from collections import deque

from sentry_segment.message import TrackMessage


class MessageQueue:
    """Messages in the order they came, up to a number, counted until they are let go.

    A message that was taken still counts against the bound until it is delivered, given up, or in
    the spool: a batch under way is held in memory like the rest.

    Putting is re-entrant: the lock, an `RLock`, is, and nothing in it is slow or calls out.
    """

    def __init__(self, max_size: int, lock: threading.RLock) -> None:
        self._max_size = max_size
        self._lock = lock
        self._waiting: deque[TrackMessage] = deque()
        self._accepted = 0
        self._let_go = 0

    def put(self, message: TrackMessage) -> bool:
        """Append a message; False, and the message is not taken, where the queue is full."""
        with self._lock:
            if self._accepted - self._let_go >= self._max_size:
                return False
            # In this order: a signal handler may raise after a call, but not before one.
            self._accepted += 1
            self._waiting.append(message)
            return True

    def take(self) -> TrackMessage | None:
        """The oldest waiting message; `None` where none is waiting."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def let_go(self, messages: int) -> None:
        """Say of messages that were taken that they need no more room."""
        with self._lock:
            self._let_go += messages

    @property
    def waiting(self) -> int:
        """How many messages there are to take."""
        return len(self._waiting)

    @property
    def accepted(self) -> int:
        """Messages ever put."""
        return self._accepted

    def __len__(self) -> int:
        with self._lock:
            return self._accepted - self._let_go
