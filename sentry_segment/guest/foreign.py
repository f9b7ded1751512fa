"""Whose an exception is that came up in code of ours: ours, or the application's.

A signal handler runs on top of whatever its thread is doing, so what it raises comes up there: the
soft time limit of a Celery task, say, or the timeout of an RQ job. Both are an `Exception`, which a
guard against faults of our own would swallow, and the job would run on past its limit.
"""

from __future__ import annotations

import functools
import signal
import sys
from types import CodeType, FrameType, MethodType, TracebackType
from typing import Any

# What our own code calls, and what may run in the place of the standard library.
_CALLED = frozenset({"sentry_segment", "sentry_sdk", "httpx", "httpcore", "h11", "anyio"})
_GEVENTS = frozenset({"gevent", "eventlet", "greenlet"})


def from_signal_handler(error: BaseException) -> bool:
    """Whether one of the process's signal handlers raised it."""
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    return any(frame.f_code in handlers for frame in _frames(error))


def of_signal_handler(error: BaseException) -> BaseException | None:
    """What a signal handler raised, be it this error or what this was made of."""
    for each in _chain(error):
        if from_signal_handler(each):
            return each
    return None


def is_injected(error: BaseException) -> bool:
    """Whether another thread had the interpreter raise it in the midst of our code.

    To be asked of code that calls objects of the application's, too.
    """
    frames = _frames(error)
    module = frames[-1].f_globals.get("__name__", "") if frames else ""
    return module.startswith("sentry_segment.") and not _is_called(type(error).__module__)


def without_our_frames(error: BaseException) -> BaseException:
    """The error itself, whose traceback begins where the application's own code does."""
    for each in _chain(error):
        kept = [frame for frame in _tracebacks(each) if not _is_called(_module(frame.tb_frame))]
        rebuilt: TracebackType | None = None
        for traceback in reversed(kept):
            frame, instruction, line = traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno
            rebuilt = TracebackType(rebuilt, frame, instruction, line)
        each.__traceback__ = rebuilt
    return error


def is_applications(error: BaseException) -> bool:
    """Whether it came from outside into code of ours that calls nothing of the application's.

    That is from a signal handler, even one that is no longer set; or from another thread, which
    had the interpreter raise it here (`PyThreadState_SetAsyncExc`).
    """
    modules = [_module(frame) for frame in _frames(error)]
    if not all(map(_is_called, [*modules, type(error).__module__])):
        return True
    # What is raised within gevent's waits is thrown there, but for gevent's own errors.
    is_thrown = any(map(_is_gevents, modules)) and not _is_gevents(type(error).__module__)
    return is_thrown or from_signal_handler(error)


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _tracebacks(error: BaseException) -> list[TracebackType]:
    tracebacks = []
    traceback = error.__traceback__
    while traceback is not None:
        tracebacks.append(traceback)
        traceback = traceback.tb_next
    return tracebacks


def _frames(error: BaseException) -> list[FrameType]:
    return [traceback.tb_frame for traceback in _tracebacks(error)]


def _module(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name


def _code(handler: Any) -> CodeType | None:
    if not callable(handler):  # SIG_DFL, SIG_IGN, or one that was set in C
        return None
    while isinstance(handler, (functools.partial, MethodType)):
        handler = handler.func if isinstance(handler, functools.partial) else handler.__func__
    if not hasattr(handler, "__code__"):
        handler = getattr(type(handler), "__call__", None)  # noqa: B004 - where it has one
    return getattr(handler, "__code__", None)


def _is_called(module: object) -> bool:
    name = _package(module)
    return name in _CALLED or name in _GEVENTS or name in sys.stdlib_module_names


def _is_gevents(module: object) -> bool:
    return _package(module) in _GEVENTS


def _package(module: object) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""
