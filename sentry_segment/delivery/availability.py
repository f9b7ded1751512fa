"""Whether the spool can be used, and written to, after it failed."""

from __future__ import annotations

import math
from collections.abc import Callable

from sentry_segment.guest.log import ProblemLog
from sentry_segment.spool.contract import SpoolError, SpoolLostError

SPOOL_RETRY = 10.0
"""Seconds for which the spool is left alone when it could not be used."""


class Availability:
    """Says what is wrong once, until messages can be written again."""

    def __init__(self, log: ProblemLog, now: Callable[[], float]) -> None:
        self._log = log
        self._now = now
        self._is_failing = False
        self._room_at = -math.inf
        self._lost_at = -math.inf
        self.again_at = -math.inf
        """The time until which it is left alone."""

    @property
    def is_usable(self) -> bool:
        return self._now() >= self.again_at

    @property
    def has_room(self) -> bool:
        """Whether it can be used, and may have room."""
        return self._now() >= max(self.again_at, self._room_at)

    def works(self) -> None:
        """It was written to."""
        self._is_failing = False

    def failed(self, error: SpoolError) -> None:
        self.again_at = self._now() + SPOOL_RETRY
        self._say(error)

    def has_no_room(self, error: SpoolError) -> None:
        """Nothing can be written to it; what is there can be read and removed."""
        self._room_at = self._now() + SPOOL_RETRY
        self._say(error)

    def lost(self, error: SpoolLostError) -> bool:
        """What was in it is gone. Whether a new one can be begun at once: not over and over."""
        self._log.warn("spool lost", str(error))
        was_lost_at, self._lost_at = self._lost_at, self._now()
        return self._lost_at - was_lost_at >= SPOOL_RETRY

    def _say(self, error: SpoolError) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._log.warn("spool", f"{error}. Until it can be used, messages wait in memory alone")
