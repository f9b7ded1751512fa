"""Log lines, on the logger `sentry_segment`: a repeated problem is said once a minute, and none of
them shows up in Sentry, or as a traceback where it can't be written."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable

from sentry_segment.guest.clock import monotonic
from sentry_segment.guest.foreign import from_signal_handler
from sentry_segment.guest.forks import PerProcess
from sentry_segment.guest.silence import silence

logger = logging.getLogger("sentry_segment")

INTERVAL = 60.0  # seconds


def describe(error: BaseException) -> str:
    """`"ValueError: its text"`, for an error of any kind, even one that can't be printed."""
    name = "an error"
    try:
        name = str(type(error).__name__)
        return f"{name}: {_text(error)}"
    except BaseException:  # noqa: BLE001 - the application's own __str__, or metaclass
        return name


def _text(error: BaseException) -> str:
    """What an error says, else what its cause does: httpx's own errors may say nothing."""
    cause: BaseException | None = error
    for _ in range(5):
        if cause is None:
            break
        if text := str(cause).strip():
            return text
        cause = cause.__cause__ or cause.__context__
    return "it has no text"


def printable(text: str) -> str:
    """A stranger's text in one line, without what would control a terminal."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def warn(text: str) -> None:
    """Log a line: each of this package goes through here.

    Raises nothing but what a signal handler does meanwhile.
    """
    if not logger.isEnabledFor(logging.WARNING):
        return
    try:
        file, line, function, _ = logger.findCaller()
        record = logger.makeRecord(
            logger.name, logging.WARNING, file, line, "%s", (text,), None, function
        )
        with silence():
            _handle(record)
    except Exception as error:  # of a logging filter or handler of the application's
        if from_signal_handler(error):
            raise


def _handle(record: logging.LogRecord) -> None:
    """As `Logger.handle`, but for handlers whose stream is closed: as those of a test's end are.

    `logging` would print a traceback for each. Where loguru is in use, its users hand it what
    `logging` gets, under the name of the module that called `logging`. That is to be one of ours,
    which Sentry ignores, rather than of whoever has wrapped `Logger.callHandlers`.
    """
    handlers = _handlers()
    usable = [handler for handler in handlers if not _is_closed(handler)]
    if len(usable) == len(handlers) and "loguru" not in sys.modules:
        logger.handle(record)
        return
    passed: object = logger.filter(record)
    if isinstance(passed, logging.LogRecord):  # from Python 3.12 on
        record = passed
    for handler in usable if passed else []:
        if record.levelno >= handler.level:
            handler.handle(record)


def _handlers() -> list[logging.Handler]:
    """Those that `Logger.callHandlers` calls."""
    found: list[logging.Handler] = []
    asked: logging.Logger | None = logger
    while asked is not None:
        found += asked.handlers
        asked = asked.parent if asked.propagate else None
    return found or [logging.lastResort] if logging.lastResort else found


def _is_closed(handler: logging.Handler) -> bool:
    return getattr(getattr(handler, "stream", None), "closed", False) is True


class ProblemLog:
    """Logs problems, each kind at most once in `INTERVAL`, with the number left out since."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._lock = PerProcess(threading.RLock)
        self._said: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warn(self, kind: str, text: str) -> None:
        """Log a problem of this kind, unless one was logged a short time ago."""
        now = self._now()
        with self._lock.get():
            if now - self._said.get(kind, -INTERVAL) < INTERVAL:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
            # Before the line is out: a handler that captures errors may come by here again.
            self._said[kind] = now
            left_out = self._left_out.pop(kind, 0)
        if left_out:
            text = f"{text} (and {left_out} more times since this was last logged)"
        warn(text)
