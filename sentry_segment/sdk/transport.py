"""Sentry's transport, watched: the one place that sees exactly what Sentry is handed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import finalize

import sentry_sdk.transport
import sentry_sdk.utils

from sentry_segment.delivery.flushes import Flush
from sentry_segment.delivery.workers import Workers
from sentry_segment.guest.foreign import is_applications
from sentry_segment.sdk.mirror import Mirror

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.transport import Transport

# Only newer SDKs have the two.
_AsyncTransport: Any = getattr(sentry_sdk.transport, "AsyncHttpTransport", ())
_internal_task: Any = getattr(sentry_sdk.utils, "mark_sentry_task_internal", nullcontext)


class MirroringTransport:
    """Passes everything on to the wrapped transport, and shows the integration each envelope.

    It presents itself as an instance of the wrapped class, for the SDK asks in places whether its
    transport is an asynchronous one, say.
    """

    def __init__(
        self,
        inner: Transport,
        mirror: Mirror,
        workers: Workers,
        integration: object,
        sentry_link: str = "",
    ) -> None:
        # Names that no transport has: the others' own are to be found here, `_worker` for one.
        self._inner = inner
        self._mirror = mirror
        self._mirrors_workers = workers
        self._mirroring_for = integration
        # Not a method: the look-ups on an object with `__getattr__` would take as long as all else
        # does for an event that is not mirrored.
        self.capture_envelope = _capturing(mirror, inner, sentry_link)
        user = object()
        workers.here().open(user)
        # Called once: when the client is closed, or dropped without a close.
        self._release = finalize(self, workers.release, user)
        self._release.atexit = False

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return self._inner.__class__

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":  # of a copy under way
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def mirroring_for(self) -> object:
        """The integration that sees what goes through here, also from behind other wrappers."""
        return self._mirroring_for

    def flush(self, timeout: float, callback: Any = None) -> Any:
        """Flush both, side by side, within the timeout."""
        worker = self._mirrors_workers.here()
        guarded = partial(self._mirror.guarded, is_theirs=is_applications)
        flush = guarded(worker.begin_flush, timeout)
        inner: Any = self._inner  # whose flush returns something, where it is asynchronous
        try:
            result = inner.flush(timeout=timeout, callback=callback)
        except BaseException as error:
            worker.give_up_waiting(error)
            raise
        if isinstance(inner, _AsyncTransport) or inspect.isawaitable(result):
            return _finish_in_loop(flush, result, timeout)
        guarded(worker.finish_flush, flush)
        return result

    def kill(self) -> Any:
        self._release()
        return self._inner.kill()


def _capturing(mirror: Mirror, inner: Transport, sentry_link: str) -> Callable[[Envelope], Any]:
    def capture_envelope(envelope: Envelope) -> Any:
        try:
            mirror.mirror(envelope, sentry_link)
        except BaseException:  # a signal handler's, say: it travels on, but not at Sentry's cost
            inner.capture_envelope(envelope)
            raise
        return inner.capture_envelope(envelope)

    return capture_envelope


def _finish_in_loop(flush: Flush | None, result: Any, timeout: float) -> Any:
    """An awaitable for both flushes; like the SDK's own, a task."""
    if flush is None:
        return result
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return result  # no loop that could wait

    deadline = loop.time() + timeout

    async def both() -> None:
        mirrored = asyncio.wrap_future(flush.done)
        try:
            if result is not None:
                await result
            await asyncio.wait([mirrored], timeout=max(0.0, deadline - loop.time()))
        finally:
            # Python 3.10 would else call into the loop when the flush is done, and log an error
            # where the loop is closed by then. The flush itself runs, and can't be cancelled.
            mirrored.cancel()

    with _internal_task():
        return loop.create_task(both())
