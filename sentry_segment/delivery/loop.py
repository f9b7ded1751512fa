"""What whoever delivers does over and over: wait until a request may be made, and make it."""

from __future__ import annotations

import math
from collections.abc import Callable

from sentry_segment.delivery.backlog import Backlog
from sentry_segment.delivery.flushes import Flush, Flushes
from sentry_segment.delivery.schedule import Delivery
from sentry_segment.delivery.sender import Sender
from sentry_segment.delivery.thread import WorkerThread
from sentry_segment.guest.foreign import without_our_frames
from sentry_segment.guest.forks import OwnProcess
from sentry_segment.guest.silence import silence


class Loop:
    """Run by the worker's thread, or where none can be had, by one that flushes: one at a time."""

    def __init__(
        self,
        thread: WorkerThread,
        backlog: Backlog,
        delivery: Delivery,
        sender: Sender,
        flushes: Flushes,
        process: OwnProcess,
        now: Callable[[], float],
    ) -> None:
        self._thread = thread
        self._backlog = backlog
        self._delivery = delivery
        self._sender = sender
        self._flushes = flushes
        self._process = process
        self._now = now

    def run(self, goes_on: Callable[[], bool], time_limit: float) -> None:
        """Deliver, with so many seconds for each request, until the thread is to end.

        With a spool, requests are made in threads of their own.
        """
        done = self._thread.wake if self._backlog.is_spooling else None
        with silence(), self._thread.running:
            try:
                while goes_on() and self._wait_for_work(None):
                    self._sender.send(time_limit, done)
            finally:
                if self._process.is_here:  # and this is not a greenlet in a forked child
                    self._sender.finish(wait=True)
                    self._sender.close()
                    self._backlog.close()

    def run_here(self, flush: Flush) -> None:
        """Deliver in a thread that flushes, where there is no other, until the flush is over."""
        if self._thread.exists:
            return
        remaining = flush.deadline - self._now()
        running = self._thread.running
        if remaining <= 0 or not running.acquire(timeout=remaining):
            return
        try:
            with silence():
                while self._wait_for_work(flush):
                    self._sender.send(flush.deadline - self._now())
        except BaseException as error:  # noqa: BLE001 - it travels on
            # A signal handler's, which becomes an event of the application's: the frames of the
            # request hold the write key.
            raise without_our_frames(error)  # noqa: B904 - it is the same
        finally:
            self._sender.close()
            self._backlog.close()
            self._thread.is_awake = False
            running.release()

    def tend_here(self, seconds: float) -> bool:
        """Tend the backlog in this thread, unless another one delivers, which does so by itself.

        Waits for so long until none does; returns whether none did.
        """
        running = self._thread.running
        if not running.acquire(timeout=seconds):
            return False
        try:
            self._tend()
        finally:
            running.release()
        return True

    def _wait_for_work(self, flush: Flush | None) -> bool:
        """Wait until a request may be made; False where there is none to make.

        That is, for the thread, once nobody uses the worker any more and nothing is left; for
        another thread, when its `flush` is done or nothing is left. For either, when the process
        was forked meanwhile: gevent's greenlets, unlike threads, go on in the child.
        """
        while self._process.is_here:
            # Before the look at the queue: what comes after it will wake.
            self._thread.is_awake = False
            self._tend()
            self._sender.finish(wait=False)
            self._flushes.attend()
            if flush is not None and flush.done.done():
                return False
            now = self._now()
            wake_at = self._backlog.tend_at()
            if self._sender.is_busy:
                pass  # whose end will wake
            elif not self._delivery.is_idle:
                is_spooling = self._backlog.is_spooling
                # A spool is written to in the meantime. What waits aside holds up no other.
                self._thread.is_awake = not (is_spooling or self._delivery.has_only_aside)
                wake_at = min(wake_at, self._delivery.ready_at())
                if self._delivery.ready_at() <= now:
                    return True
                if not is_spooling:
                    self._backlog.encode_ahead()
            elif flush is not None or self._thread.leave(self._is_done):
                return False
            if flush is not None:
                wake_at = min(wake_at, flush.deadline)
            self._thread.wait(None if wake_at == math.inf else max(0.0, wake_at - self._now()))
        return False

    def _is_done(self) -> bool:
        """Whether nothing is left to send, nobody new waits, and the spool knows all."""
        is_idle = self._delivery.is_idle and not self._flushes.has_new
        return is_idle and not self._backlog.has_duties

    def _tend(self) -> None:
        try:
            self._backlog.tend()
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread
            self._delivery.internal_error(error)
