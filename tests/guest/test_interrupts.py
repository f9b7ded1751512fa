"""What a signal handler raises while the mirror is at work travels on, as it does without the
integration: a job's time limit, Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import Collector
from faults import fault, silent
from scripts import run
from sentry_segment.guest.foreign import from_signal_handler
from support import some

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")

# How handlers come to be called, each a function `handler(signum, frame)`.
HANDLERS = {
    "function": """
    def limit(signum, frame):
        raise Limit
    signal.signal(signal.SIGALRM, limit)
    """,
    "method": """
    class Job:
        def limit(self, signum, frame):
            raise Limit
    signal.signal(signal.SIGALRM, Job().limit)
    """,
    "object": """
    class Job:
        def __call__(self, signum, frame):
            raise Limit
    signal.signal(signal.SIGALRM, Job())
    """,
    "partial": """
    import functools
    def limit(job, signum, frame):
        raise Limit
    signal.signal(signal.SIGALRM, functools.partial(limit, "job"))
    """,
    "of the standard library's type": """
    def limit(signum, frame):
        raise TimeoutError
    Limit = TimeoutError
    signal.signal(signal.SIGALRM, limit)
    """,
    "that is set back": """
    def limit(signum, frame):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        raise Limit
    signal.signal(signal.SIGALRM, limit)
    """,
    "of another thread": """
    import ctypes
    here = ctypes.c_ulong(threading.get_ident())
    def interrupt():
        # As RQ does on Windows, and dramatiq everywhere.
        wait_until(lambda: "finish_flush" in functions_of_main())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(here, ctypes.py_object(Limit))
    threading.Thread(target=interrupt, daemon=True).start()
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    """,
}
# What the main thread is at.
MAIN = """
    def functions_of_main():
        frame, names = sys._current_frames()[threading.main_thread().ident], set()
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        return names
"""
CALLS = {
    "sentry_sdk.flush": "sentry_sdk.flush(3600.0)",
    "close": "sentry_sdk.get_client().close(3600.0)",
    "integration.flush": "integration.flush(3600.0)",
}


@some
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_a_time_limit_during_a_flush_travels_on(
    handler: str, call: str, collector: Collector
) -> None:
    collector.answer = lambda call: fault(then=silent)
    ended = run(
        collector,
        f"""
    class Limit(Exception):
        pass

    {MAIN.strip()}
    integration = init(shutdown_timeout=0)
    {handler.strip()}
    capture("never answered")
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3, 0.1)
        {call}
    except Limit:
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("raised", flush=True)
        os._exit(0)
    """,
    )
    assert ended.out == "raised\n", ended.err


# Raises out of the midst of a function of ours, as a signal would that comes just then.
DURING = """
    class Limit(Exception):
        pass

    def limit(signum, frame):
        raise Limit

    signal.signal(signal.SIGALRM, limit)

    def interrupted(owner, name):
        real = getattr(owner, name)
        def function(*arguments, **options):
            setattr(owner, name, real)
            result = real(*arguments, **options)
            os.kill(os.getpid(), signal.SIGALRM)
            return result
        setattr(owner, name, function)
"""
PLACES = {
    "mapping": "interrupted(sentry_segment.sdk.mirror, 'parts')",
    "put": "interrupted(sentry_segment.delivery.queue.MessageQueue, 'put')",
    "start of the thread": "interrupted(threading.Thread, 'start')",
    "log line": """
    integration._log.warn("kind", "a line")
    interrupted(logging.Logger, 'handle')
    sentry_segment.sdk.mirror.parts = operator.attrgetter("no_such_attribute")
    """,
    "before_track": "hooks.append(lambda: os.kill(os.getpid(), signal.SIGALRM))",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_time_limit_during_a_capture_travels_on_and_sentry_has_the_event(
    place: str, collector: Collector
) -> None:
    ended = run(
        collector,
        DURING
        + f"""
    import logging, operator
    import sentry_segment.integration, sentry_segment.delivery.queue

    hooks = []

    def before_track(message, event):
        for hook in hooks:
            hook()
        return message

    segment = {{"before_track": before_track}} if {"hooks" in place} else {{}}
    integration = init(segment=segment, auto_session_tracking=False)
    sentry_sdk.capture_message("attached")
    sentry_sdk.flush(10.0)
    {place}
    try:
        capture("interrupted")
    except Limit:
        print("raised", flush=True)
    hooks.clear()
    """,
    )
    assert ended.out == "raised\n", ended.err
    assert [event.get("exception") is not None for event in collector.events] == [False, True]


def test_an_error_of_an_enumeration_is_no_signal_handlers() -> None:
    """`SIG_DFL` is a member of one, whose class can be called."""
    with pytest.raises(ValueError, match="not a valid") as caught:
        signal.Signals(-1)
    assert not from_signal_handler(caught.value)


def test_a_fault_that_is_no_signals_does_not_travel_on(collector: Collector) -> None:
    ended = run(
        collector,
        DURING
        + """
    import operator
    import sentry_segment.integration

    init()
    sentry_segment.sdk.mirror.parts = operator.attrgetter("no_such_attribute")
    capture("not mirrored")
    """,
    )
    assert ended.status == 0, ended.err
    assert "An event could not be mirrored: TypeError: attrgetter" in ended.err
    assert len(collector.events) == 1


def test_a_time_limit_while_no_thread_can_be_had_travels_on_without_the_write_key(
    collector: Collector,
) -> None:
    """Then the flushing thread makes the request: its frames hold the key."""
    collector.answer = lambda call: fault(then=silent)
    ended = run(
        collector,
        """
    import base64, json
    from sentry_sdk.transport import Transport

    seen = []

    class Kept(Transport):
        def capture_envelope(self, envelope):
            seen.extend(json.dumps(item.payload.json, default=repr) for item in envelope.items)

        def flush(self, timeout, callback=None):
            pass

    def limit(signum, frame):
        raise TimeoutError("a time limit")

    def no_thread(self):
        raise RuntimeError("can't start new thread")

    integration = init(transport=Kept, shutdown_timeout=0)
    threading.Thread.start = no_thread
    signal.signal(signal.SIGALRM, limit)
    capture("never answered")
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        sentry_sdk.flush(3600.0)
    except TimeoutError:
        sentry_sdk.capture_exception()
    [event] = [each for each in seen if "a time limit" in each]
    key = integration._options.write_key
    secrets = key, base64.b64encode(f"{key}:".encode()).decode()
    print([secret in event for secret in secrets], '"function": "limit"' in event)
    """,
    )
    assert ended.out == "[False, False] True\n", ended.err


@pytest.fixture
def silent_sentry() -> Iterator[str]:
    """The DSN of a server that lets everybody connect and answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://public@127.0.0.1:{server.getsockname()[1]}/1"


@pytest.mark.parametrize("waiting_in", ["finish_flush", "_wait_flush"], ids=["Segment", "Sentry"])
@pytest.mark.parametrize("spooled", [False, True], ids=["memory", "spool"])
def test_one_ctrl_c_during_the_exit_ends_the_process(
    waiting_in: str, spooled: bool, collector: Collector, silent_sentry: str, tmp_path: Path
) -> None:
    """As it does with Sentry alone: nothing waits once more, for an hour here."""
    collector.answer = lambda call: fault(then=silent)
    ended = run(
        collector,
        f"""
    init(shutdown_timeout=3600)
    init(shutdown_timeout=3600)  # another client, which Sentry's exit handler does not know of
    {MAIN.strip()}

    def interrupt():
        wait_until(lambda: {waiting_in!r} in functions_of_main())
        os.kill(os.getpid(), signal.SIGINT)

    capture("never answered")
    threading.Thread(target=interrupt, daemon=True).start()
    """,
        dsn=silent_sentry if waiting_in == "_wait_flush" else None,
        spool=tmp_path / "spool.db" if spooled else None,
    )
    assert "KeyboardInterrupt" in ended.err
    assert not collector.messages
