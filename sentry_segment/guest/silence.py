"""What keeps the mirror's own work out of Sentry and of others' traces, and its thread out of
everyone's logs."""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sentry_sdk.client import NonRecordingClient
from sentry_sdk.scope import Scope, use_isolation_scope, use_scope

T = TypeVar("T")


class _SilentClient(NonRecordingClient):
    """A client without integrations or transport.

    It counts as active, or the SDK would go on to look for a client in the scopes behind it.
    """

    def is_active(self) -> bool:
        return True


# httpx logs a line for each request, and httpcore at the level DEBUG every step of it: the headers
# of the answer, say, in which a server may echo the write key. A filter must be on each logger
# itself, for it is not asked about what the loggers below one's own log.
_HTTP_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.proxy",
    "httpcore.socks",
)


class _NotInSilence(logging.Filter):
    """Drops the lines of the HTTP client, where the request is the mirror's."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_here, "silent", False)


_here = threading.local()
_not_in_silence = _NotInSilence()


@contextmanager
def silence() -> Iterator[None]:
    """A stretch of this thread's work that leaves no trace in Sentry, nor in OpenTelemetry.

    Every hook of the SDK (for httpx, logging, threads, the standard library) asks the current
    scope for its client first, and finds one that has no integration.
    """
    for name in _HTTP_LOGGERS:
        logging.getLogger(name).addFilter(_not_in_silence)  # added once, however often asked
    client: Any = _SilentClient()
    was_silent = getattr(_here, "silent", False)
    _here.silent = True
    try:
        with (
            use_isolation_scope(Scope(client=client)),
            use_scope(Scope(client=client)),
            _untraced(),
        ):
            yield
    finally:
        _here.silent = was_silent


@contextmanager
def _untraced() -> Iterator[None]:
    """A stretch of which OpenTelemetry's instrumentations take no notice, where they are in use."""
    context: Any = sys.modules.get("opentelemetry.context")
    # The last name in the module: without it, another thread is about to import that.
    key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", None)
    if key is None:
        yield
        return
    within = context.set_value(key, True)
    within = context.set_value("suppress_instrumentation", True, within)  # older ones ask for it
    token = context.attach(within)
    try:
        yield
    finally:
        context.detach(token)


def outside_any_request(function: Callable[[], T]) -> T:
    """Call a function in an empty context, so that what it starts holds no request's data.

    A thread started plainly would keep the scopes of the request during which it started: the
    SDK's Threading integration hands them on, and from Python 3.14 threads may inherit all context
    variables.
    """

    def silently() -> T:
        with silence():
            return function()

    return contextvars.Context().run(silently)
