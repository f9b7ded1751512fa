"""The background thread of one integration in one process: started with the first message, woken,
flushed and ended."""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Hashable
from concurrent.futures import Future, wait
from functools import partial
from typing import TYPE_CHECKING

from sentry_segment.delivery.backlog import Backlog
from sentry_segment.delivery.exchange import in_own_thread
from sentry_segment.delivery.flushes import Flush, Flushes
from sentry_segment.delivery.queue import MessageQueue
from sentry_segment.delivery.schedule import Delivery
from sentry_segment.guest.clock import Clock, SystemClock
from sentry_segment.guest.foreign import from_signal_handler, without_our_frames
from sentry_segment.guest.log import ProblemLog, describe, warn
from sentry_segment.guest.shutdown import exit_budget, is_ending
from sentry_segment.guest.silence import outside_any_request, silence
from sentry_segment.mapping.message import Draft, TrackMessage
from sentry_segment.options import Options
from sentry_segment.spool.contract import LEASE
from sentry_segment.stats import Counters, DropReason, Stats
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions
from sentry_segment.wire.verdict import Verdict

if TYPE_CHECKING:
    from sentry_segment.spool.contract import Spool

MAX_FLUSH = 1e6  # seconds; some of Python's waits take no more


class Worker:
    """Owns the queue and the thread that empties it.

    The thread runs while anybody uses the worker (`open`, `release`) and something was put; after
    the last release it ends as soon as nothing is left to send. It is for the process that made it:
    a forked one has another (`Workers`), with the same `users`. Waking it is one `put` on a
    `SimpleQueue`, which, unlike `threading.Event` and `Condition`, a signal handler may call in
    the middle of another such call.
    """

    def __init__(
        self,
        options: Options,
        network: NetworkOptions,
        log: ProblemLog,
        exit_timeout: float,
        users: set[Hashable] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._pid = os.getpid()
        self._options = options
        self._clock = clock or SystemClock()
        self._api = SegmentApi(options, network)
        self._log = log
        self._users: set[Hashable] = set() if users is None else users
        self.exit_timeout = exit_timeout
        self._lock = threading.RLock()
        self._make_waitable()
        self._thread: threading.Thread | None = None
        # Whether the thread is going to look at the queue without being woken.
        self._is_awake = False
        self._flushes = Flushes()
        self._is_last_try = False
        self._has_overruled = False
        self._counters = Counters()
        self._reported_lost = 0
        self._stay_until = 0.0
        self._exchange: Future[Verdict] | None = None  # under way in a thread of its own
        now = self._clock.now
        self._queue = MessageQueue(options.max_queue_size, self._counters.lock)
        self._backlog = Backlog(self._queue, self._make_spool(), self._counters, log, now)
        self._delivery = Delivery(self._backlog, options, self._counters, log, now)

    def _make_waitable(self) -> None:
        """What a thread waits in."""
        self._running = threading.Lock()  # held by whichever thread is delivering
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def _make_spool(self) -> Spool | None:
        options = self._options
        if options.spool is None:
            return None
        try:
            from sentry_segment.spool.sqlite import SqliteSpool
        except ImportError as error:  # some Pythons are built without SQLite
            text = "The spool can't be used: messages wait in memory alone"
            self._log.warn("spool", f"{text} ({describe(error)})")
            return None
        return SqliteSpool(options.spool, options.spool_max_bytes, options.write_key)

    # Called from any thread

    def put(self, message: Draft | TrackMessage) -> None:
        """Queue a message for delivery; where the queue is full, drop and count it."""
        if not self._queue.put(message):
            self.drop("queue_overflow")
            self._log.warn(
                "overflow",
                f"max_queue_size ({self._options.max_queue_size}) is reached: new messages are "
                f"dropped until Segment ({self._options.host}) takes some of those that wait",
            )
        elif not self._is_awake:
            self._is_awake = True
            try:
                self._wake.put(None)
                self._ensure_thread()
            except BaseException:  # raised by a signal handler that came in between
                self._is_awake = False
                raise

    def drop(self, reason: DropReason) -> None:
        """Count a message that was dropped before it was put."""
        self._counters.drop(reason)

    def count_collected(self) -> None:
        """Count a message that a test has collected instead of putting it."""
        with self._counters.lock:
            self._counters.collected += 1

    def stats(self) -> Stats:
        with self._counters.lock:
            backlog = self._backlog
            mirrored, queued = self._queue.count()
            return self._counters.snapshot(mirrored, queued, backlog.in_spool, backlog.recovered)

    @property
    def is_here(self) -> bool:
        """Whether this is the process that the worker is for."""
        return os.getpid() == self._pid

    def open(self, user: Hashable = None) -> None:
        """Say that somebody is going to put messages."""
        self._users.add(user)

    def release(self, user: Hashable = None) -> None:
        """Say that one of those who opened the worker puts no more."""
        self._users.discard(user)
        self._wake.put(None)

    def resume(self) -> None:
        """Send what other processes have left in the spool, if there is something."""
        if self._backlog.has_leftovers():
            # Long enough to claim what belongs to a process that was killed just now.
            self._stay_until = self._clock.now() + 2 * LEASE
            self._ensure_thread()

    def begin_flush(self, timeout: float) -> Flush | None:
        """Have what was put so far delivered within `timeout` seconds, without waiting for it.

        `None` where nothing is left to deliver. To be followed by `finish_flush`.

        When the process is ending, this is the last try for what waits in any worker, and all
        flushes together get as long as one.
        """
        timeout = min(timeout, MAX_FLUSH)
        last_try = is_ending()
        if last_try:
            timeout = exit_budget.get().allow(timeout, self.exit_timeout)
        # A process that lives for a moment, and finds what others have left, sends that too.
        with_recovered = last_try and self._stay_until > 0.0
        if threading.current_thread() is self._thread:
            return None
        if not self._undelivered() and not with_recovered:
            return None
        now = self._clock.now()
        flush = Flush(self._backlog.accepted, now, now + timeout, last_try, with_recovered)
        self._flushes.add(flush)
        self._wake.put(None)
        self._ensure_thread()
        return flush

    def finish_flush(self, flush: Flush | None) -> bool:
        """Wait for a flush until its deadline; whether all it was begun for is settled.

        Where no thread can be started any more, delivers in this one.
        """
        if flush is None:
            return not self._undelivered()
        try:
            while True:
                if self._thread is None:
                    self._deliver_here(flush)
                remaining = max(0.0, flush.deadline - self._clock.now())
                # In steps: the thread's start, in some other thread, may yet fail. `result` would
                # raise `TimeoutError`, as may a signal handler, which means the application.
                wait([flush.done], min(remaining, 0.1))
                if flush.done.done():
                    return flush.done.result()
                if not remaining:
                    return False
        except BaseException as error:
            self.give_up_waiting(error)
            raise
        finally:
            if flush.last_try:
                exit_budget.get().spend(self._clock.now() - flush.begun)

    def give_up_waiting(self, error: BaseException) -> None:
        """Where who flushes was interrupted, by Ctrl-C say, a process that ends waits no more."""
        is_interrupted = not isinstance(error, Exception) or from_signal_handler(error)
        if is_interrupted and is_ending():
            exit_budget.get().exhaust()

    def _undelivered(self) -> int:
        with self._counters.lock:
            return self._backlog.accepted - self._backlog.settled

    # The thread

    def _ensure_thread(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            if type(self._wake) is not queue.SimpleQueue:
                # gevent has patched the module since, as it does in the workers of gunicorn after
                # --preload: a greenlet that waits in the old ones would stop all others.
                self._make_waitable()
            thread = threading.Thread(target=self._run, name="sentry-segment", daemon=True)
            # Before the start: nobody who comes by here meanwhile is to start another.
            self._thread = thread
        # Without the lock: the start waits for the thread, which may have to collect garbage first
        # and so come to `release`.
        try:
            outside_any_request(thread.start)
        except BaseException as error:
            self._end_thread(thread)
            # RuntimeError: no thread can be had, as when the interpreter is shutting down.
            # What waits is sent with the next message, or by whoever flushes.
            if not isinstance(error, RuntimeError) or from_signal_handler(error):
                raise

    def _end_thread(self, thread: threading.Thread) -> None:
        with self._lock:
            if self._thread is thread:
                self._thread = None
                self._is_awake = False

    def _run(self) -> None:
        thread = threading.current_thread()
        try:
            with silence(), self._running:
                try:
                    # It is not this one, where a signal handler raised out of this one's start.
                    while self._thread is thread and self._wait_for_work(None):
                        self._send(self._options.timeout)
                finally:
                    if self.is_here:  # and this is not a greenlet in a forked child
                        self._end_exchange(wait=True)
                        self._api.close()
                        self._backlog.close()
        finally:
            self._end_thread(thread)

    def _deliver_here(self, flush: Flush) -> None:
        remaining = flush.deadline - self._clock.now()
        if remaining <= 0 or not self._running.acquire(timeout=remaining):
            return
        try:
            with silence():
                while self._wait_for_work(flush):
                    self._send(flush.deadline - self._clock.now(), here=True)
        except BaseException as error:  # noqa: BLE001 - it travels on
            # A signal handler's, which becomes an event of the application's: the frames of the
            # request hold the write key.
            raise without_our_frames(error)  # noqa: B904 - it is the same
        finally:
            self._api.close()
            self._backlog.close()
            self._is_awake = False
            self._running.release()

    def _send(self, time_limit: float, here: bool = False) -> None:
        """Make the next request; with a spool only begin it, if not told to make it `here`."""
        try:
            request = self._delivery.next_request()
            if request is None:
                return

            def send() -> Verdict:
                return self._api.send(request.messages, request.retry_count, time_limit)

            if self._backlog.is_spooling and not here:
                try:
                    self._exchange = in_own_thread(send, partial(self._wake.put, None))
                    return
                except RuntimeError:
                    pass  # no thread can be had
            verdict = send()
            if self.is_here:  # and this is not a greenlet in a forked child
                self._delivery.act_on(verdict)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread
            self._internal_error(error)

    def _end_exchange(self, wait: bool) -> None:
        """Act on the answer to a request in its own thread, if there is one by now."""
        exchange = self._exchange
        if exchange is None or not (wait or exchange.done()):
            return
        self._exchange = None
        try:
            self._delivery.act_on(exchange.result())
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread
            self._internal_error(error)

    def _tend(self) -> None:
        try:
            self._backlog.tend()
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread
            self._internal_error(error)

    def _internal_error(self, error: Exception) -> None:
        if from_signal_handler(error):  # in a thread of the application's that delivers here
            raise error
        self._log.warn("internal", f"Internal error, will try again: {describe(error)}")
        self._delivery.pause()

    def _wait_for_work(self, flush: Flush | None) -> bool:
        """Wait until a request may be made; False where there is none to make.

        That is, for the thread, once nobody uses the worker any more and nothing is left; for
        another thread, when its `flush` is done or nothing is left. For either, when the process
        was forked meanwhile: gevent's greenlets, unlike threads, go on in the child.
        """
        while self.is_here:
            self._is_awake = False  # before the look at the queue: what comes after it will wake
            self._tend()
            self._end_exchange(wait=False)
            self._attend_flushes()
            if flush is not None and flush.done.done():
                return False
            now = self._clock.now()
            wake_at = self._backlog.tend_at()
            if self._exchange is not None:
                pass  # whose end will wake
            elif not self._delivery.is_idle:
                # A spool is written to in the meantime. What waits aside holds up no other.
                self._is_awake = not (self._backlog.is_spooling or self._delivery.has_only_aside)
                wake_at = min(wake_at, self._delivery.ready_at())
                if self._delivery.ready_at() <= now:
                    return True
                if not self._backlog.is_spooling:
                    self._backlog.encode_ahead()
            elif flush is not None or self._leave():
                return False
            if flush is not None:
                wake_at = min(wake_at, flush.deadline)
            remaining = None if wake_at == math.inf else max(0.0, wake_at - self._clock.now())
            self._clock.wait(self._wake, remaining)
        return False

    def _leave(self) -> bool:
        """End the thread, where nobody uses the worker any more and nothing is left to do."""
        with self._lock:
            if self._users or not self._delivery.is_idle or self._flushes.has_new:
                return False
            if self._backlog.has_duties or self._stay_until > self._clock.now():
                return False
            self._thread = None
            return True

    def _attend_flushes(self) -> None:
        """Take the new flushes, hurry for them, and end those that are done or hopeless."""
        while (flush := self._flushes.take()) is not None:
            self._delivery.hurry(overrule=False)
            self._is_last_try |= flush.last_try
        # The last try of a process that ends overrules a Retry-After, be it heard before or since,
        # but not a second one in a row.
        self._has_overruled &= self._delivery.is_failing
        is_told_to_wait = self._delivery.ordered_until() > self._clock.now()
        if self._is_last_try and is_told_to_wait and not self._has_overruled:
            self._has_overruled = True
            self._delivery.hurry(overrule=True)
        # Where nothing will be sent before its deadline, nobody is kept waiting for it.
        hopeless_before = max(self._clock.now(), self._delivery.nothing_before())
        is_recovery_over = self._backlog.has_looked and (
            self._delivery.has_only_aside or self._delivery.is_failing
        )
        self._flushes.end(self._backlog.settled, is_recovery_over, hopeless_before)

    # The end of the process, and a fork

    def leave_spool(self, deadline: float) -> None:
        """Have the last messages written to the spool, and leave it to the next process."""
        if not self._backlog.is_spooling:
            return
        while len(self._queue) and not self._backlog.is_hopeless:
            # Where there is a thread, it has the lock, and writes by itself.
            if self._running.acquire(timeout=0.01):
                try:
                    self._tend()
                finally:
                    self._running.release()
                break
            if self._clock.now() >= deadline:
                break
        self._backlog.leave()

    def report_loss(self) -> None:
        """Say what the process leaves undelivered when it ends."""
        lost = len(self._queue) - self._reported_lost
        if lost > 0:  # some children of multiprocessing come by here twice
            self._reported_lost += lost
            self._counters.drop("network_error", lost)
            last_error = self._counters.last_error or "no answer yet"
            warn(
                f"{lost} message(s) could not be delivered to Segment ({self._options.host}) "
                f"before the process ended: {last_error}"
            )

    def leave_to_parent(self) -> None:
        """In a child: leave the parent's connection to it."""
        self._api.forget_connection()
