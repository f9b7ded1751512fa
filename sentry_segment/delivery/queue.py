"""The bounded queue between the threads that capture errors and the one that delivers them."""

from __future__ import annotations

import threading
from collections import deque

from sentry_segment.mapping.message import Draft, TrackMessage


class MessageQueue:
    """Messages in the order they came, up to a number, counted until they are let go.

    A message that was taken still counts against the bound until it is delivered, given up, or in
    the spool: a batch under way is held in memory like the rest.

    Putting takes no lock. So it is re-entrant, and nobody waits; but threads that find the last
    room at the same instant each use it. All else but the properties is for one thread at a time.
    """

    def __init__(self, max_size: int, lock: threading.RLock) -> None:
        self._room = max_size  # for those that wait
        self._lock = lock
        self._waiting: deque[Draft | TrackMessage] = deque()
        self._taken = 0
        self._let_go = 0

    def put(self, message: Draft | TrackMessage) -> bool:
        """Append a message; False, and the message is not taken, where the queue is full."""
        if len(self._waiting) >= self._room:
            return False
        self._waiting.append(message)
        return True

    def take(self, messages: int, into: deque[Draft | TrackMessage]) -> None:
        """Move the oldest waiting messages, so many of them at the most."""
        with self._lock:
            for _ in range(min(messages, len(self._waiting))):
                # In this order: a signal handler may raise after a call, but not before one.
                self._taken += 1
                self._room -= 1
                into.append(self._waiting.popleft())

    def let_go(self, messages: int) -> None:
        """Say of messages that were taken that they need no more room."""
        with self._lock:
            self._let_go += messages
            self._room += messages

    @property
    def waiting(self) -> int:
        """How many messages there are to take."""
        return len(self._waiting)

    @property
    def accepted(self) -> int:
        """Messages ever put."""
        return self.count()[0]

    def __len__(self) -> int:
        return self.count()[1]

    def count(self) -> tuple[int, int]:
        """Messages ever put, and of these, those that are held: at one moment."""
        with self._lock:
            accepted = self._taken + len(self._waiting)
            return accepted, accepted - self._let_go
