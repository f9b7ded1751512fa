"""The background thread's life: started when there is something to do, woken, and ended."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable

from sentry_segment.guest.clock import Clock
from sentry_segment.guest.foreign import from_signal_handler
from sentry_segment.guest.silence import outside_any_request

Work = Callable[[Callable[[], bool]], None]
"""What the thread does. It is given a function that tells whether it is to go on."""


class WorkerThread:
    """One thread at a time, started when it is needed and there is none.

    It lives while anybody uses it (`open`, `release`), or for as long as it was told to `stay`;
    after that it ends as soon as nothing is left to do. Waking it is one `put` on a `SimpleQueue`,
    which, unlike `threading.Event` and `Condition`, a signal handler may call in the middle of
    another such call.
    """

    def __init__(self, users: set[Hashable], clock: Clock) -> None:
        self._users = users
        self._clock = clock
        self._stay_until = 0.0
        self._lock = threading.RLock()
        self._make_waitable()
        self._thread: threading.Thread | None = None
        self.is_awake = False
        """Whether it is going to look at the queue without being woken."""

    def _make_waitable(self) -> None:
        """What a thread waits in."""
        self.running = threading.Lock()
        """Held by whichever thread is delivering."""
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    # Called from any thread

    def open(self, user: Hashable) -> None:
        """Say that somebody is going to have something to do for it."""
        self._users.add(user)

    def release(self, user: Hashable) -> None:
        """Say that one of those who opened it has nothing to do for it any more."""
        self._users.discard(user)
        self.wake()

    def stay(self, seconds: float) -> None:
        """Have it live for so long, whoever uses it."""
        self._stay_until = self._clock.now() + seconds

    @property
    def was_to_stay(self) -> bool:
        """Whether it was ever told to stay."""
        return self._stay_until > 0.0

    @property
    def exists(self) -> bool:
        """Whether there is a thread, be it one that is being started."""
        return self._thread is not None

    @property
    def is_current(self) -> bool:
        """Whether it is the thread that asks."""
        return threading.current_thread() is self._thread

    def wake(self) -> None:
        """End the thread's wait, or the next one."""
        self._wake.put(None)

    def rouse(self, work: Work) -> None:
        """Have the thread look at the queue: wake it, or start it with this to do."""
        self.is_awake = True
        try:
            self._wake.put(None)
            self.ensure(work)
        except BaseException:  # raised by a signal handler that came in between
            self.is_awake = False
            raise

    def ensure(self, work: Work) -> None:
        """Start the thread, with this to do, unless there is one."""
        with self._lock:
            if self._thread is not None:
                return
            if type(self._wake) is not queue.SimpleQueue:
                # gevent has patched the module since, as it does in the workers of gunicorn after
                # --preload: a greenlet that waits in the old ones would stop all others.
                self._make_waitable()
            thread = threading.Thread(
                target=self._run, args=(work,), name="sentry-segment", daemon=True
            )
            # Before the start: nobody who comes by here meanwhile is to start another.
            self._thread = thread
        # Without the lock: the start waits for the thread, which may have to collect garbage first
        # and so come to `release`.
        try:
            outside_any_request(thread.start)
        except BaseException as error:
            self._end(thread)
            # RuntimeError: no thread can be had, as when the interpreter is shutting down.
            # What waits is sent with the next message, or by whoever flushes.
            if not isinstance(error, RuntimeError) or from_signal_handler(error):
                raise

    # The thread

    def _run(self, work: Work) -> None:
        thread = threading.current_thread()
        try:
            # It is not this one, where a signal handler raised out of this one's start.
            work(lambda: self._thread is thread)
        finally:
            self._end(thread)

    def _end(self, thread: threading.Thread) -> None:
        with self._lock:
            if self._thread is thread:
                self._thread = None
                self.is_awake = False

    def wait(self, seconds: float | None) -> None:
        """Wait to be woken, for so long at the most."""
        self._clock.wait(self._wake, seconds)

    def leave(self, is_done: Callable[[], bool]) -> bool:
        """Have there be no thread any more, where nobody uses it and it `is_done`; whether so."""
        with self._lock:
            if self._users or self._stay_until > self._clock.now() or not is_done():
                return False
            self._thread = None
            return True
