"""When the next request may be made, so that there are not too many."""

from __future__ import annotations

import math
from collections import deque


class RateLimit:
    """At most so many requests in any stretch of so many seconds.

    A tenth of them, or ten, may follow each other at once; the others are spread over the rest of
    the stretch. Or the requests of a storm would be small, each a millisecond after the one
    before, until the limit is reached; and what is left would have to wait for the rest of the
    stretch, perhaps at the end of the process.
    """

    def __init__(self, requests: int, seconds: float) -> None:
        self.at_once = at_once = min(requests, max(10, requests // 10))
        self.seconds = seconds
        self.spacing = seconds / (requests - at_once) if requests > at_once else math.inf
        self._latest: deque[float] = deque(maxlen=at_once)

    def ready_at(self) -> float:
        """The time from which the next request is allowed."""
        latest = self._latest
        if len(latest) < (latest.maxlen or 0):
            return 0.0
        return min(latest[-1] + self.spacing, latest[0] + self.seconds)

    def note(self, now: float) -> None:
        """Count a request that is made now."""
        self._latest.append(now)
