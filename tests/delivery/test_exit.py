"""The end of a process, and forks: real processes, which end in all the ways that processes do."""

from __future__ import annotations

import os
import socket
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector import Call, Collector, Reply
from faults import in_turn
from scripts import names, run, run_with_children, start
from support import WRITE_KEY, some

ENDS = {
    "normal end": "capture('E')",
    "sys.exit": "capture('E'); sys.exit(3)",
    "in a function of a module that is unloaded": "capture('E'); del sentry_sdk",
    "an uncaught exception": "raise LookupError",
    "SIGTERM with a handler that exits": """
        signal.signal(signal.SIGTERM, lambda *args: sys.exit(0))
        capture('E')
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    """,
    "an error in a thread": """
        def fail():
            raise LookupError
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    """,
    "an error in an exit handler": "atexit.register(capture, 'E')",
    "a second init": "capture('E'); init()",
}


@some
@pytest.mark.parametrize("script", ENDS.values(), ids=ENDS)
def test_a_process_that_ends_delivers_what_it_captured(collector: Collector, script: str) -> None:
    ended = run(collector, "init()\n" + textwrap.dedent(script))
    assert len(collector.messages) == 1, ended.err
    assert len(collector.events) == 1


def test_without_sentrys_exit_hook_the_mirror_still_delivers(collector: Collector) -> None:
    run(
        collector,
        """
        init(default_integrations=False)
        for n in range(100):
            capture(f"E{n}")
        """,
    )
    assert names(collector) == [f"E{n}" for n in range(100)]


def test_an_error_in_a_late_exit_handler_is_delivered_without_a_thread(
    collector: Collector,
) -> None:
    """No thread can be started any more in exit handlers of Python 3.12 and later."""
    ended = run(
        collector,
        """
        integration = init(default_integrations=False)
        threading.Thread.start = lambda self: (_ for _ in ()).throw(
            RuntimeError("can't create new thread at interpreter shutdown")
        )
        capture("E")
        print(integration.flush(10.0), integration.stats.delivered)
        """,
    )
    assert names(collector) == ["E"], ended.err
    assert (ended.out, ended.err) == ("True 1\n", "")


@pytest.mark.parametrize("spooled", [False, True], ids=["memory", "spool"])
def test_what_a_closed_client_left_is_delivered_at_the_end(
    spooled: bool, collector: Collector, tmp_path: Path
) -> None:
    collector.answer = lambda call: Reply(503) if not collector.calls else None
    ended = run(
        collector,
        """
        import gc, random
        random.random = lambda: 1.0
        init()
        capture("of the closed client")
        sentry_sdk.get_client().close(timeout=0.1)
        sentry_sdk.init(dsn=DSN)  # nothing holds the first client and its integration any more
        gc.collect()
        """,
        spool=tmp_path / "spool.db" if spooled else None,
    )
    assert names(collector) == ["of the closed client"], ended.err


def test_an_error_of_sentrys_own_flush_at_the_end_costs_no_message(collector: Collector) -> None:
    collector.answer = lambda call: Reply(503) if not collector.calls else None
    ended = run(
        collector,
        """
        import random
        from sentry_sdk.transport import Transport

        random.random = lambda: 1.0

        class Broken(Transport):
            def capture_envelope(self, envelope):
                pass

            def flush(self, timeout, callback=None):
                raise RuntimeError("cannot schedule new futures after shutdown")

        integration = init(transport=Broken, shutdown_timeout=30)
        capture("E")
        wait_until(lambda: integration.stats.last_error)
        """,
    )
    assert names(collector) == ["E"], ended.err


def test_what_could_not_be_delivered_is_reported_at_the_end(collector: Collector) -> None:
    collector.answer = lambda call: Reply(503)
    ended = run(collector, "init(); capture('E')")
    assert "1 message(s) could not be delivered to Segment" in ended.err
    assert WRITE_KEY not in ended.err


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that lets everybody connect and answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@some
@pytest.mark.parametrize("dead", ["Segment", "Segment and Sentry"])
def test_servers_that_never_answer_delay_the_exit_once(
    dead: str, collector: Collector, silent_server: int
) -> None:
    """Three clients, of which Sentry's exit hook closes one: one shutdown timeout for them all."""
    collector.answer = lambda call: Reply(delay=threading.Event())
    ended = run(
        collector,
        """
        began = []
        # The first exit handler is the last to run.
        atexit.register(lambda: print((time.monotonic() - began[0]) / 4))
        for n in range(3):
            init(shutdown_timeout=4)
            capture(f"E{n}")
        began.append(time.monotonic())
        """,
        dsn=None if dead == "Segment" else f"http://public@127.0.0.1:{silent_server}/1",
    )
    [shutdown_timeouts] = ended.out.split()
    assert 0.9 < float(shutdown_timeouts) < 1.9
    assert ended.status == 0


def test_a_last_try_overrules_retry_after(collector: Collector) -> None:
    collector.answer = in_turn(Reply(429, {"Retry-After": "200"}))
    ended = run(
        collector,
        """
        integration = init()
        capture("E")
        wait_until(lambda: integration.stats.last_error)
        print(integration.flush(30.0))
        """,
    )
    assert ended.out == "False\n"
    assert names(collector) == ["E"]


@pytest.mark.skipif(
    (3, 12, 0) <= sys.version_info < (3, 12, 3),
    reason="there no thread can be started once the main one has ended (CPython's issue 113964)",
)
def test_work_after_the_main_thread_is_not_yet_the_end(collector: Collector) -> None:
    """A thread that is no daemon may go on for hours: its flushes are as any others."""
    collector.answer = in_turn(Reply(429, {"Retry-After": "200"}))
    ended = run(
        collector,
        """
        integration = init()

        def work():
            threading.main_thread().join()
            capture("E")
            wait_until(lambda: integration.stats.last_error)
            for _ in range(3):
                print(integration.flush(30.0), integration.stats.delivered)

        threading.Thread(target=work).start()
        """,
    )
    assert ended.out == "False 0\n" * 3, ended.err
    assert names(collector) == ["E"]  # by the last try, in the exit handlers
    assert len(collector.calls) == 2


# Forks

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")


@posix
@pytest.mark.parametrize("before", [0, 1, 20])
def test_a_forked_childs_errors_and_its_parents_arrive_once(
    before: int, collector: Collector
) -> None:
    ended = run(
        collector,
        f"""
        integration = init()
        for n in range({before}):
            capture(f"before{{n}}")
        child = os.fork()
        who = "parent" if child else "child"
        for n in range(20):
            capture(f"{{who}}{{n}}")
        if not child:
            # Not Sentry's own flush, which in a child may wait for what its parent had queued.
            assert integration.flush(10.0)
            assert integration.stats.mirrored == 20, integration.stats
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """,
    )
    assert ended.status == 0, ended.err
    expected = [f"before{n}" for n in range(before)]
    expected += [f"{who}{n}" for who in ("parent", "child") for n in range(20)]
    assert sorted(names(collector)) == sorted(expected)


@posix
@pytest.mark.parametrize("is_spooled", [False, True], ids=["in memory", "in a spool"])
def test_a_child_that_forks_delivers_its_own_and_leaves_its_childs_to_it(
    is_spooled: bool, collector: Collector, tmp_path: Path
) -> None:
    """Each generation forks with messages waiting, for the answers begin only with the last."""
    go = threading.Event()
    collector.answer = lambda call: None if go.is_set() else Reply(503)
    script = start(
        collector,
        """
        integration = init()
        generation = 0
        children = []
        for n in range(10):
            capture(f"generation0-{n}")
        while generation < 3:
            child = os.fork()
            if child:
                children.append(child)
                break
            generation += 1
            for n in range(10):
                capture(f"generation{generation}-{n}")
        if generation == 3:
            print("the last", flush=True)
            told()
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        assert integration.flush(20.0)
        assert integration.stats.mirrored == integration.stats.delivered == 10
        if generation:
            os._exit(0)
        """,
        spool=tmp_path / "spool.db" if is_spooled else None,
    )
    assert script.line() == "the last"
    go.set()
    script.tell()
    ended = script.end()
    assert ended.status == 0, ended.err
    expected = [f"generation{generation}-{n}" for generation in range(4) for n in range(10)]
    assert sorted(names(collector)) == expected


@posix
def test_a_fork_during_a_request_leaves_it_to_the_parent(collector: Collector) -> None:
    go = threading.Event()
    collector.answer = lambda call: Reply(delay=go) if len(collector.calls) == 0 else None
    process = start(
        collector,
        """
        integration = init()
        capture("under way")
        told()
        child = os.fork()
        if not child:
            capture("child")
            assert integration.flush(10.0)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print("child is done", flush=True)
        """,
    )
    assert collector.wait_for(lambda: len(collector.calls) == 1)
    process.tell()
    assert process.line() == "child is done"
    go.set()
    ended = process.end()
    assert ended.status == 0, ended.err
    assert sorted(names(collector)) == ["child", "under way"]


def ask_to_wait(call: Call) -> Reply | None:
    return None if "x-retry-count" in call.headers else Reply(429, {"Retry-After": "60"})


@some
@posix
@pytest.mark.parametrize("answer", [None, ask_to_wait], ids=["at once", "asked to wait"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_delivers_before_it_ends(
    method: str, answer: Callable[[Call], Reply | None] | None, collector: Collector, tmp_path: Path
) -> None:
    collector.answer = answer
    # Ample, for a machine that is busy with other things.
    ended = run_with_children(collector, method, tmp_path, timeout=20.0)
    assert ended.status == 0, ended.err
    assert sorted(names(collector)) == ["child0", "child1", "parent"]
    assert "could not be delivered" not in ended.err


@posix
@pytest.mark.parametrize("recovers", [True, False])
def test_a_last_try_overrules_a_retry_after_heard_during_it_once(
    recovers: bool, collector: Collector
) -> None:
    """As where a child ends right after its error. Without a thread, whoever flushes sends."""
    collector.answer = ask_to_wait if recovers else lambda call: Reply(429, {"Retry-After": "60"})
    ended = run(
        collector,
        """
        import multiprocessing

        def work():
            start = threading.Thread.start
            def start_others(thread):
                if thread.name == "sentry-segment":
                    raise RuntimeError("can't start new thread")
                start(thread)
            threading.Thread.start = start_others
            capture("child")

        init(shutdown_timeout=20.0)
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        assert child.exitcode == 0
        """,
    )
    assert ended.status == 0, ended.err
    assert [call.headers.get("x-retry-count") for call in collector.calls] == [None, "1"]
    assert names(collector) == (["child"] if recovers else [])
    assert ended.err.count("could not be delivered") == (0 if recovers else 1)


@some
@posix
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_multiprocessing_reports_a_loss_once(
    method: str, collector: Collector, tmp_path: Path
) -> None:
    collector.answer = lambda call: Reply(503)
    ended = run_with_children(collector, method, tmp_path, timeout=1.0)
    assert ended.err.count("could not be delivered") == 3  # two children and their parent
