"""Sends all that waits in a spool, by the delivery that an application has."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from sentry_segment.delivery.worker import Worker
from sentry_segment.guest.clock import monotonic
from sentry_segment.guest.log import ProblemLog, logger
from sentry_segment.options import Options
from sentry_segment.spool.contract import Spool, SpoolError, Waiting
from sentry_segment.spool_command.progress import Progress
from sentry_segment.spool_command.survey import messages_of
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions

_LOOK_EVERY = 1.0  # seconds
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Drain:
    """One run."""

    def __init__(self, options: Options, spool: Spool, seconds: float) -> None:
        self._worker = Worker(
            options, SegmentApi(options, NetworkOptions()), spool, ProblemLog(), exit_timeout=0.0
        )
        self._spool = spool  # which tells by itself what the worker holds
        self._end = monotonic() + seconds
        self._progress = Progress()
        self._leases: dict[int, float] = {}  # of each writer, when it would have lapsed at first
        self._signal = 0

    def run(self) -> int:
        """Send what waits; the exit status."""
        before = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        logger.addHandler(self._progress)
        self._worker.open(self)
        try:
            self._worker.resume()
            left = self._wait()
        finally:
            self._worker.release(self)
            self._worker.leave_spool(monotonic() + 1.0)  # to whoever comes by, at once
            self._progress.end()
            logger.removeHandler(self._progress)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._spool.disconnect()
        return self._conclude(left)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._signal = number

    def _wait(self) -> list[Waiting]:
        """Wait until nothing is left to do, and return what is left then."""
        left: list[Waiting] = []
        total = 0
        look_at = 0.0
        while True:
            is_over = self._signal or monotonic() > self._end
            if is_over or monotonic() >= look_at:
                with suppress(SpoolError):  # the worker's log says so
                    left = self._ours()
                    total = max(total, self._settled() + messages_of(left))
                    if is_over or self._is_done(left):
                        return left
                look_at = monotonic() + _LOOK_EVERY
            if is_over:
                return left
            settled, is_idle = self._settled(), self._worker.stats().spooled == 0
            is_waiting = is_idle and 0 < settled < total
            remark = "waiting for what other processes hold" if is_waiting else ""
            self._progress.show(settled, total, remark)
            if is_idle and settled:
                look_at = min(look_at, monotonic() + 0.1)
            time.sleep(0.05)

    def _settled(self) -> int:
        stats = self._worker.stats()
        return stats.delivered + sum(stats.dropped.values())

    def _ours(self) -> list[Waiting]:
        return [each for each in self._spool.survey() or [] if each.is_ours]

    def _is_done(self, left: Sequence[Waiting]) -> bool:
        """Whether all that is left is held by others, who renew their leases."""
        now = monotonic()
        for each in left:
            self._leases.setdefault(each.writer, now + each.lease)
        return all(map(self._is_in_use, left))

    def _is_in_use(self, waiting: Waiting) -> bool:
        """Whether its lease was renewed. One that was killed has a lease too, for a while."""
        if waiting.is_own or not waiting.lease:
            return False
        return monotonic() + waiting.lease > self._leases[waiting.writer] + 1

    def _conclude(self, left: Sequence[Waiting]) -> int:
        stats = self._worker.stats()
        given_up = sum(stats.dropped.values())
        print(f"{stats.delivered:,} message(s) delivered")
        if given_up:
            print(f"{given_up:,} given up: {stats.last_error}")
        if left:
            print(f"{messages_of(left):,} left in the spool{self._reason(stats.last_error)}")
        elif not given_up and not self._signal:
            print("nothing is left")
        if self._signal:
            return 128 + self._signal
        return 1 if left or given_up else 0

    def _reason(self, last_error: str | None) -> str:
        if not self._signal and monotonic() <= self._end:
            return ": processes that run hold it, and send it themselves"
        return f": {last_error}" if last_error else ""
