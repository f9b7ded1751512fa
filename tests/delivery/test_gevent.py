"""Under gevent's monkey-patching, where threads are greenlets: real processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import scripts
from collector import Call, Collector, Reply
from gevent_scripts import IMPORTS, PREAMBLE
from scripts import names
from support import some

start = partial(scripts.start, preamble=PREAMBLE, measured=False)


def run(collector: Collector, script: str) -> scripts.Ended:
    return start(collector, script).end()


def ask_to_wait(call: Call) -> Reply | None:
    return None if "x-retry-count" in call.headers else Reply(429, {"Retry-After": "60"})


def test_greenlets_capture_while_segment_fails_and_recovers(collector: Collector) -> None:
    calls = 0

    def moody(call: Call) -> Reply | None:
        nonlocal calls
        calls += 1
        return [None, Reply(503), Reply(0)][calls % 3]

    collector.answer = moody
    ended = run(
        collector,
        """
        integration = init()

        def work():
            for _ in range(10):
                print(capture("E"))
                gevent.sleep(0.001)

        gevent.joinall([gevent.spawn(work) for _ in range(50)], raise_error=True)
        assert integration.flush(30.0)
        stats = integration.stats
        assert (stats.mirrored, stats.delivered, stats.queued) == (500, 500, 0), stats
        assert stats.retries, stats
        """,
    )
    assert ended.status == 0, ended.err
    captured = ended.out.split()
    assert len(captured) == 500
    assert sorted(each["messageId"] for each in collector.messages) == sorted(captured)


def test_a_flush_lets_other_greenlets_run_and_is_back_within_its_timeout(
    collector: Collector,
) -> None:
    collector.answer = lambda call: Reply(delay=threading.Event())  # none, until the test is over
    ended = run(
        collector,
        """
        integration = init()
        capture("E")
        turns = 0

        def take_turns():
            global turns
            while True:
                turns += 1
                gevent.sleep(0.001)

        other = gevent.spawn(take_turns)
        began = time.monotonic()
        for flush in (lambda: integration.flush(1.0), lambda: sentry_sdk.flush(1.0)):
            before = turns
            assert not flush()
            assert turns - before > 20, turns
        assert time.monotonic() - began < 10.0
        assert integration.stats.queued == 1
        other.kill()
        os._exit(0)
        """,
    )
    assert ended.status == 0, ended.err
    assert len(collector.calls) == 1


def test_a_capture_in_a_native_thread_is_delivered(collector: Collector) -> None:
    ended = run(
        collector,
        """
        integration = init()
        capture("main")
        threadpool = gevent.get_hub().threadpool
        wait_until(lambda: integration.stats.delivered == 1)
        threadpool.apply(capture, ("pool",))
        wait_until(lambda: integration.stats.delivered == 2)  # without a flush
        for number in range(20):
            threadpool.spawn(capture, f"pool{number}")
        threadpool.join()
        assert integration.flush(20.0)
        """,
    )
    assert ended.status == 0, ended.err
    expected = ["main", "pool", *(f"pool{number}" for number in range(20))]
    assert sorted(names(collector)) == sorted(expected)


@some
@pytest.mark.parametrize("answer", [None, ask_to_wait], ids=["at once", "asked to wait"])
@pytest.mark.parametrize("end", ["", "sys.exit()", "raise LookupError"])
def test_the_end_of_the_process_delivers_what_waits(
    end: str, answer: Callable[[Call], Reply | None] | None, collector: Collector
) -> None:
    """Where Segment asked to wait, that it is the end must be seen, for only then it is tried."""
    collector.answer = answer
    ended = run(
        collector,
        f"""
        integration = init()
        for number in range(20):
            capture(f"E{{number}}")
        if {answer is not None}:
            wait_until(lambda: integration.stats.last_error)
        {end}
        """,
    )
    expected = [f"E{number}" for number in range(20)]
    if end.startswith("raise"):
        expected.append("LookupError")
    assert names(collector) == expected, ended.err
    assert "could not be delivered" not in ended.err


@pytest.mark.parametrize("has_spool", [False, True], ids=["memory", "spool"])
def test_a_patch_that_comes_after_init_and_fork_stops_no_greenlet(
    has_spool: bool, collector: Collector, tmp_path: Path
) -> None:
    """As in a worker of `gunicorn --preload --worker-class gevent`."""
    ended = start(
        collector,
        """
        import signal

        # gevent looks at all objects, and Django, which Sentry's SDK imports, wants settings then.
        os.environ["DJANGO_SETTINGS_MODULE"] = "django.conf.global_settings"
        integration = init()
        if child := os.fork():
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        signal.alarm(20)  # a child that has stopped would be there for ever
        from gevent import monkey
        monkey.patch_all()

        for number in range(3):
            capture(f"E{number}")
            wait_until(lambda: integration.stats.delivered == 2 * number + 1)  # without a flush
            capture(f"F{number}")
            assert integration.flush(20.0)
        capture("last")
        """,
        preamble=IMPORTS,
        spool=tmp_path / "spool.db" if has_spool else None,
    ).end()
    assert ended.status == 0, ended.err
    assert names(collector) == ["E0", "F0", "E1", "F1", "E2", "F2", "last"]
    assert "could not be delivered" not in ended.err


# Forks: unlike threads, greenlets go on in the child, the parent's mirroring one among them.


def test_a_forked_childs_errors_and_its_parents_arrive_once(collector: Collector) -> None:
    ended = run(
        collector,
        """
        integration = init()
        capture("before")
        assert integration.flush(20.0)
        child = os.fork()
        for number in range(20):
            capture(f"{'parent' if child else 'child'}{number}")
        if not child:
            # Not Sentry's own flush, which in a child may wait for what its parent had queued.
            assert integration.flush(20.0)
            assert integration.stats.mirrored == 20, integration.stats
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """,
    )
    assert ended.status == 0, ended.err
    expected = [f"{who}{number}" for who in ("parent", "child") for number in range(20)]
    assert sorted(names(collector)) == sorted(["before", *expected])


FORK = """
        child = os.fork()
        if not child:
            go.set()
            for number in range(5):
                capture(f"child{number}")
                assert integration.flush(20.0)
            assert integration.stats.delivered == 5, integration.stats
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        go.set()
"""
BEFORE_AND_CHILDS = ["before", "child0", "child1", "child2", "child3", "child4"]


def test_a_fork_during_a_request_leaves_it_to_the_parent(collector: Collector) -> None:
    go = threading.Event()

    def answer(call: Call) -> Reply | None:
        name = call.json["properties"]["exceptionType"]
        if name == "child4":
            go.set()
        return Reply(delay=go) if name == "before" else None

    collector.answer = answer
    script = start(
        collector,
        """
        import gevent.event
        from gevent.fileobject import FileObject

        integration = init()
        go = gevent.event.Event()
        capture("before")
        FileObject(sys.stdin.fileno(), "rb", closefd=False).readline()
        """
        + FORK,
    )
    assert collector.wait_for(lambda: len(collector.calls) == 1)
    script.tell()
    ended = script.end()
    assert ended.status == 0, ended.err
    assert sorted(names(collector)) == BEFORE_AND_CHILDS


def test_a_fork_during_the_connect_leaves_the_request_to_the_parent(collector: Collector) -> None:
    ended = run(
        collector,
        """
        import gevent.event, socket

        connected, go = gevent.event.Event(), gevent.event.Event()
        connect = socket.create_connection

        def connect_slowly(*args, **options):
            made = connect(*args, **options)
            connected.set()
            go.wait()
            return made

        socket.create_connection = connect_slowly
        integration = init()
        capture("before")
        connected.wait()
        """
        + FORK,
    )
    assert ended.status == 0, ended.err
    assert sorted(names(collector)) == BEFORE_AND_CHILDS


def test_a_fork_during_a_wait_leaves_one_to_send_the_childs_errors(collector: Collector) -> None:
    """The child's first request is held until its copy of its parent's wait is over."""
    go = threading.Event()

    def answer(call: Call) -> Reply | None:
        name = call.json["properties"]["exceptionType"]
        if name == "parent9":
            go.set()
        if name == "child0":
            return Reply(delay=go)
        return None if collector.calls else Reply(429, {"Retry-After": "1"})

    collector.answer = answer
    ended = run(
        collector,
        """
        integration = init()
        capture("before")
        wait_until(lambda: integration.stats.last_error)
        child = os.fork()
        if not child:
            for number in range(5):
                capture(f"child{number}")
                assert integration.flush(20.0)
            assert integration.stats.delivered == 5, integration.stats
            os._exit(0)
        wait_until(lambda: integration.stats.delivered)
        for number in range(10):
            capture(f"parent{number}")
            assert integration.flush(20.0)
        assert os.waitpid(child, 0)[1] == 0
        """,
    )
    assert ended.status == 0, ended.err
    assert sorted(names(collector)) == BEFORE_AND_CHILDS + [f"parent{n}" for n in range(10)]
    assert "Internal error" not in ended.err
