"""Whose an exception is that came up in code of ours: ours, or the application's.

A signal handler runs on top of whatever its thread is doing, so what it raises comes up there: the
soft time limit of a Celery task, say, or the timeout of an RQ job. Both are an `Exception`, which a
guard against faults of our own would swallow, and the job would run on past its limit.
"""

from __future__ import annotations

import functools
import signal
import sys
from types import CodeType, MethodType
from typing import Any

# What our own code calls, and what runs in the place of the standard library (gevent).
_CALLED = frozenset({"sentry_segment", "sentry_sdk", "httpx", "httpcore", "gevent", "eventlet"})


def from_signal_handler(error: BaseException) -> bool:
    """Whether one of the process's signal handlers raised it."""
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    return any(frame.f_code in handlers for frame in _frames(error))


def is_applications(error: BaseException) -> bool:
    """Whether it came from outside into code of ours that calls nothing of the application's.

    That is from a signal handler, even one that is no longer set; or from another thread, which
    had the interpreter raise it here (`PyThreadState_SetAsyncExc`).
    """
    frames = _frames(error)
    is_of_ours = all(_is_called(frame.f_globals.get("__name__", "")) for frame in frames)
    return not (is_of_ours and _is_called(type(error).__module__)) or from_signal_handler(error)


def _frames(error: BaseException) -> list[Any]:
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames


def _code(handler: Any) -> CodeType | None:
    while isinstance(handler, (functools.partial, MethodType)):
        handler = handler.func if isinstance(handler, functools.partial) else handler.__func__
    if not hasattr(handler, "__code__"):
        handler = getattr(type(handler), "__call__", None)  # noqa: B004 - where it has one
    return getattr(handler, "__code__", None)


def _is_called(module: object) -> bool:
    name = module.partition(".")[0] if isinstance(module, str) else ""
    return name in _CALLED or name in sys.stdlib_module_names
