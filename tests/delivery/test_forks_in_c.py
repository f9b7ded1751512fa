"""Forks that call none of Python's hooks, or not all, as of servers that embed Python: uWSGI's."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from collector import Collector, Reply
from scripts import Ended, names, run, start
from sqlite_spools import begins_at_init, is_sound, kept, leave, track
from support import some

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the C library is Linux's")

FORK = """
    import _imp, ctypes

    def fork():
        # A thread that waits for the interpreter's lock at this moment would leave that lock
        # unusable in the child: whoever forks so has to see that none does.
        is_busy = True
        while is_busy:
            before = time.process_time()
            time.sleep(0.05)
            is_busy = time.process_time() - before > 0.005
        _imp.acquire_lock()
        child = ctypes.PyDLL(None).fork()  # which keeps the interpreter's lock meanwhile
        if child == 0 and {has_hook}:
            ctypes.pythonapi.PyOS_AfterFork_Child()  # which lets go of the import lock
        else:
            _imp.release_lock()
        return child

    def in_child(function):
        # Runs it in a child, and waits for the end of that.
        child = fork()
        if not child:
            status = 1
            try:
                function()
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture(params=[True, False], ids=["hook after", "no hook"])
def forking(request: pytest.FixtureRequest) -> str:
    return FORK.format(has_hook=request.param)


@pytest.fixture(params=[True, False], ids=["spool", "memory"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "spool.db" if request.param else None


def ended_well(ended: Ended, spool: Path | None) -> None:
    assert ended.status == 0, ended.err
    # On a busy machine Sentry's own exit may say that it waits.
    assert ended.err == "" or ended.err.startswith("Sentry is attempting to send")
    assert "Traceback" not in ended.err
    if spool is not None:
        assert is_sound(spool)
        assert kept(spool) == []


@some
def test_a_child_of_a_process_that_has_sent_something_sends_its_own(
    forking: str, spool: Path | None, collector: Collector
) -> None:
    ended = run(
        collector,
        forking
        + """
    integration = init()
    capture("before")
    assert integration.flush(10.0)

    def child(name):
        assert integration.stats.mirrored == 0
        capture(name)
        assert integration.flush(10.0)
        stats = integration.stats
        assert (stats.mirrored, stats.delivered, stats.queued, stats.spooled) == (1, 1, 0, 0)

    def child_with_a_child():
        child("child")
        in_child(lambda: child("grandchild"))
        capture("child again")
        assert integration.flush(10.0)

    for n in range(3):
        in_child(child_with_a_child)
    capture("after")
    assert integration.flush(10.0)
    assert integration.stats.delivered == 2
        """,
        spool=spool,
    )
    ended_well(ended, spool)
    expected = ["before", "after", *["child", "grandchild", "child again"] * 3]
    assert sorted(names(collector)) == sorted(expected)


@some
def test_what_waits_in_the_parent_and_is_under_way_there_is_left_to_it(
    forking: str, spool: Path | None, collector: Collector
) -> None:
    go = threading.Event()
    collector.answer = lambda call: Reply(delay=go) if not collector.calls else None
    process = start(
        collector,
        forking
        + """
    integration = init()
    capture("under way")
    told()
    capture("waits")
    wait_until(lambda: not SPOOL or integration.stats.spooled == 2)

    def child():
        assert integration.flush(10.0)  # the first thing that it does
        capture("child")
        assert integration.flush(10.0)

    in_child(child)
    print("child is done", flush=True)
    assert integration.flush(30.0)
        """,
        spool=spool,
    )
    assert collector.wait_for(lambda: len(collector.calls) == 1)
    process.tell()
    assert process.line() == "child is done"
    go.set()
    ended_well(process.end(), spool)
    assert sorted(names(collector)) == ["child", "under way", "waits"]


@some
def test_threads_that_are_the_first_of_a_child_lose_nothing(
    forking: str, spool: Path | None, collector: Collector
) -> None:
    ended = run(
        collector,
        forking
        + """
    integration = init()
    capture("before")
    assert integration.flush(10.0)

    def child():
        start = threading.Barrier(8)

        def first(n):
            start.wait()
            for m in range(5):
                with sentry_sdk.isolation_scope() as scope:
                    scope.set_user({"id": "u1"})
                    capture(f"{n}-{m}")
            integration.flush(10.0)

        threads = [threading.Thread(target=first, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert integration.flush(10.0)
        assert integration.stats.delivered == 40

    in_child(child)
        """,
        spool=spool,
    )
    ended_well(ended, spool)
    expected = ["before", *(f"{n}-{m}" for n in range(8) for m in range(5))]
    assert sorted(names(collector)) == sorted(expected)


@some
def test_the_end_of_a_child_flushes_its_own(
    forking: str, spool: Path | None, collector: Collector
) -> None:
    ended = run(
        collector,
        forking
        + """
    integration = init()
    capture("before")
    assert integration.flush(10.0)
    child = fork()
    if not child:
        capture("child")
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0
        """,
        spool=spool,
    )
    ended_well(ended, spool)
    assert sorted(names(collector)) == ["before", "child"]


def test_a_child_forked_in_the_midst_of_a_write_to_the_spool_leaves_the_file_alone(
    forking: str, collector: Collector, tmp_path: Path
) -> None:
    spool = tmp_path / "spool.db"
    ended = run(
        collector,
        forking
        + """
    from sentry_segment.spool import sqlite_file as spool_file

    integration = init()
    capture("before")
    assert integration.flush(10.0)
    [file] = spool_file._connected
    is_writing, go = threading.Event(), threading.Event()

    def write():
        with file.transaction() as db:
            db.execute("INSERT INTO messages (writer, body) VALUES (-1, 'x')")
            is_writing.set()
            go.wait()

    writer = threading.Thread(target=write)
    writer.start()
    is_writing.wait()

    def child():
        capture("child")
        assert integration.flush(10.0)

    in_child(child)
    go.set()
    writer.join()
    capture("after")
    assert integration.flush(10.0)
        """,
        spool=spool,
    )
    assert ended.status == 0, ended.err
    [line] = ended.err.splitlines()
    assert "forked without Python's hooks in the midst of a write" in line
    assert "py-call-uwsgi-fork-hooks = true" in line
    assert sorted(names(collector)) == ["after", "before", "child"]
    assert is_sound(spool)


def test_in_uwsgis_master_no_thread_is_started_before_it_forks_and_a_worker_sends_what_was_left(
    forking: str, collector: Collector, tmp_path: Path
) -> None:
    """A thread that held the interpreter's lock at the fork would hold it for ever in the child."""
    spool = tmp_path / "spool.db"
    leave(spool, track("left"))
    ended = run(
        collector,
        forking
        + """
    from types import SimpleNamespace

    uwsgi = SimpleNamespace(worker_id=lambda: 0, opt={"threads": b"4"})
    sys.modules["uwsgi"] = uwsgi
    integration = init()
    assert threading.active_count() == 1

    def child():
        uwsgi.worker_id = lambda: 1
        capture("child")
        wait_until(lambda: integration.stats.delivered == 2)
        assert integration.stats.recovered == 1

    in_child(child)
        """,
        spool=spool,
    )
    assert ended.status == 0, ended.err
    assert len(collector.messages) == 2
    assert kept(spool) == []


@pytest.mark.skipif(not begins_at_init, reason="this SDK tells an integration no options")
def test_uwsgis_worker_that_loads_the_application_itself_sends_what_was_left_at_once(
    collector: Collector, tmp_path: Path
) -> None:
    """As with its option `lazy-apps`."""
    spool = tmp_path / "spool.db"
    leave(spool, track("left"))
    ended = run(
        collector,
        """
    from types import SimpleNamespace

    sys.modules["uwsgi"] = SimpleNamespace(worker_id=lambda: 1, opt={"lazy-apps": True})
    integration = init()
    wait_until(lambda: integration.stats.delivered == 1)
        """,
        spool=spool,
    )
    assert ended.status == 0, ended.err
    assert kept(spool) == []
