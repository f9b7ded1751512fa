"""The worker of one integration in one process, as any thread uses it."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from sentry_segment.delivery.backlog import Backlog
from sentry_segment.delivery.flushes import Flush, Flushes, give_up_waiting
from sentry_segment.delivery.leftovers import Leftovers
from sentry_segment.delivery.loop import Loop
from sentry_segment.delivery.queue import MessageQueue
from sentry_segment.delivery.schedule import Delivery
from sentry_segment.delivery.sender import Connection, Sender
from sentry_segment.delivery.thread import WorkerThread
from sentry_segment.guest.clock import Clock, SystemClock
from sentry_segment.guest.forks import OwnProcess
from sentry_segment.guest.log import ProblemLog
from sentry_segment.mapping.message import NO_FURTHER, Draft, Secrets, TrackMessage
from sentry_segment.options import Options
from sentry_segment.spool.contract import LEASE, Spool
from sentry_segment.stats import Counters, DropReason, Stats


class Worker:
    """Takes messages, and has them delivered over a connection by a thread in the background.

    The thread runs while anybody uses the worker (`open`, `release`) and something was put; after
    the last release it ends as soon as nothing is left to send. The worker is for the process that
    made it: a forked one has another (`Workers`), with the same `users`.
    """

    def __init__(
        self,
        options: Options,
        connection: Connection,
        spool: Spool | None,
        log: ProblemLog,
        exit_timeout: float,
        users: set[Hashable] | None = None,
        clock: Clock | None = None,
        secrets: Secrets = NO_FURTHER,
    ) -> None:
        self._options = options
        self._connection = connection
        self._log = log
        self.exit_timeout = exit_timeout
        self.secrets = secrets
        """What is filtered in messages besides what Relay filters by default."""
        self._process = process = OwnProcess()
        clock = clock or SystemClock()
        now = clock.now
        self._counters = counters = Counters()
        self._queue = MessageQueue(options.max_queue_size, counters.lock)
        self._backlog = backlog = Backlog(self._queue, spool, counters, log, now, secrets)
        self._thread = WorkerThread(set() if users is None else users, clock)
        delivery = Delivery(backlog, options, counters, log, now)
        sender = Sender(connection, delivery, process)
        self._flushes = Flushes(backlog, delivery, counters, exit_timeout, now)
        self._loop = Loop(self._thread, backlog, delivery, sender, self._flushes, process, now)
        self._leftovers = Leftovers(self._queue, backlog, self._loop, counters, options.host, now)

    def put(self, message: Draft | TrackMessage) -> None:
        """Queue a message for delivery; where the queue is full, drop and count it."""
        if not self._queue.put(message):
            self.drop("queue_overflow")
            self._log.warn(
                "overflow",
                f"max_queue_size ({self._options.max_queue_size}) is reached: new messages are "
                f"dropped until Segment ({self._options.host}) takes some of those that wait",
            )
        elif not self._thread.is_awake:
            self._thread.rouse(self._run)

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
            return self._counters.snapshot(
                mirrored,
                queued=queued,
                spooled=backlog.in_spool,
                recovered=backlog.recovered,
                requests=self._connection.requests,
                bytes_sent=self._connection.bytes_sent,
                oldest_age=backlog.oldest_age(),
            )

    @property
    def is_here(self) -> bool:
        """Whether this is the process that the worker is for."""
        return self._process.is_here

    def open(self, user: Hashable = None) -> None:
        """Say that somebody is going to put messages."""
        self._thread.open(user)

    def release(self, user: Hashable = None) -> None:
        """Say that one of those who opened the worker puts no more."""
        self._thread.release(user)

    def resume(self) -> None:
        """Send what other processes have left in the spool, if there is something."""
        if self._backlog.has_leftovers():
            # Long enough to claim what belongs to a process that was killed just now.
            self._thread.stay(2 * LEASE)
            self._thread.ensure(self._run)

    def begin_flush(self, timeout: float) -> Flush | None:
        """Have what was put so far delivered within `timeout` seconds, without waiting for it.

        `None` where nothing is left to deliver. To be followed by `finish_flush`.
        """
        if self._thread.is_current:
            return None
        flush = self._flushes.begin(timeout, recovers=self._thread.was_to_stay)
        if flush is not None:
            self._thread.wake()
            self._thread.ensure(self._run)
        return flush

    def finish_flush(self, flush: Flush | None) -> bool:
        """Wait for a flush until its deadline; whether all it was begun for is settled.

        Where no thread can be started any more, delivers in this one.
        """
        return self._flushes.finish(flush, self._loop.run_here)

    def give_up_waiting(self, error: BaseException) -> None:
        """Where who flushes was interrupted, a process that ends waits no more."""
        give_up_waiting(error)

    def leave_spool(self, deadline: float) -> None:
        """Have the last messages written to the spool, and leave it to the next process."""
        self._leftovers.leave(deadline)

    def report_loss(self) -> None:
        """Say what the process leaves undelivered when it ends."""
        self._leftovers.report_loss()

    def leave_to_parent(self) -> None:
        """In a child: leave the parent's connection to it."""
        self._connection.forget_connection()

    def _run(self, goes_on: Callable[[], bool]) -> None:
        # A method of the worker's, so that the thread keeps the worker: it is found at the end of
        # the process, though its integration may be in use no more.
        self._loop.run(goes_on, self._options.timeout)
