"""The shop of `flask_gunicorn` under uWSGI, which forks in C: without Python's hooks, if it is not
told to call them."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from collector import Collector, Reply
from stacks.arrivals import wait_for_events
from stacks.browsing import Arrived, Visit, arrived, browse, browse_and, errors_in, expected
from stacks.processes import PATIENCE, Process, Stack, stack, wait_until
from stacks.servers import kill_workers, uwsgi, wait_for_lines, wait_for_uwsgis_workers
from stacks.test_web_flask import SHOP

BARE = (
    *("--module", "flask_gunicorn.shop:app", "--master", "--processes", "2"),
    *("--hook-master-start", "unix_signal:15 gracefully_kill_them_all"),
)
KINDS = {
    "example": ("--ini", "flask_gunicorn/uwsgi.ini"),  # with the hooks, and with threads
    "one thread": (*BARE, "--enable-threads"),
    "threads": (*BARE, "--threads", "4"),
    "lazy apps": (*BARE, "--threads", "4", "--lazy-apps"),
}
WARM = (
    *("--pythonpath", str(Path(__file__).parent.parent)),
    *("--module", "stacks.warm_shop:app"),
)
MASTERS = "before the fork"
"""The text of the error that the master captures with these options."""


@pytest.fixture(params=["memory", "spool"])
def machine(
    request: pytest.FixtureRequest, collector: Collector, tmp_path: Path
) -> Iterator[Stack]:
    has_spool = request.param == "spool"
    environment = {"SEGMENT_SPOOL": str(tmp_path / "spool.db")} if has_spool else {}
    with stack(collector, tmp_path, **environment) as running:
        yield running


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("kind", ["example", "one thread", "threads"])
def test_each_error_arrives_once_whether_or_not_the_master_captured_one_before_it_forked(
    machine: Stack, collector: Collector, kind: str, warm: bool
) -> None:
    # Else the workers' Sentry clients would share the connection that the master's has open.
    collector.sentry_headers = {"Connection": "close"}
    each_once_and_the_end_waits(machine, collector, KINDS[kind] + WARM * warm, kind != "one thread")
    users = Counter(message["userId"] for message in collector.messages)
    assert users["master"] == warm


def test_each_error_arrives_once_where_each_worker_loads_the_application(
    machine: Stack, collector: Collector
) -> None:
    each_once_and_the_end_waits(machine, collector, KINDS["lazy apps"], together=True)


def each_once_and_the_end_waits(
    machine: Stack, collector: Collector, options: tuple[str, ...], together: bool
) -> None:
    """Segment is away at first, and then answers only once the workers are about to end."""
    back, ending = threading.Event(), threading.Event()
    server, url = uwsgi(machine, *options)
    before = len(collector.messages)
    collector.answer = lambda call: Reply(delay=ending) if back.is_set() else Reply(503)
    visits = browse(SHOP, url, together)
    wait_for_events(collector, before + errors_in(visits))
    assert len(collector.messages) == before
    back.set()
    server.signal(signal.SIGTERM)
    wait_for_lines(server, "Gracefully killing worker", 2)
    ending.set()
    assert server.end() == 0, server.output
    assert of_visits(arrived(collector)) == expected(SHOP, url, visits)


def of_visits(found: Arrived) -> Arrived:
    """Without what the master itself has captured."""
    return Arrived(
        found.events - Counter([MASTERS]),
        [error for error in found.mirrored if error.about != MASTERS],
        {text: context for text, context in found.contexts.items() if text != MASTERS},
    )


@pytest.mark.parametrize("kind", ["example", "one thread"])
def test_workers_that_are_replaced_after_some_requests_lose_nothing(
    machine: Stack, collector: Collector, kind: str
) -> None:
    often = ("--max-requests", "12", "--min-worker-lifetime", "0", "--forkbomb-delay", "0")
    server, url = uwsgi(machine, *KINDS[kind], *often)
    visits = browse(SHOP, url, together=False)
    wait_for_uwsgis_workers(server, 3)
    visits += browse(SHOP, url, together=False)
    # A worker that uWSGI starts while it ends is not told to end.
    ended, begun = "is done. Seeya!", "Respawned uWSGI worker"
    assert wait_until(lambda: server.output.count(ended) == server.output.count(begun))
    all_arrive(server, collector, url, visits)


@pytest.mark.parametrize("kind", ["example", "one thread", "lazy apps"])
def test_a_reload_delivers_what_waits(machine: Stack, collector: Collector, kind: str) -> None:
    """By HUP. The master too begins anew, if it is not for each worker to load the application."""
    server, url = uwsgi(machine, *KINDS[kind])
    delivers_what_waits(partial(server.signal, signal.SIGHUP), server, collector, url)


def test_a_chain_reload_delivers_what_waits(
    machine: Stack, collector: Collector, tmp_path: Path
) -> None:
    commands = tmp_path / "commands"
    server, url = uwsgi(machine, *KINDS["lazy apps"], "--master-fifo", str(commands))
    reload = partial(commands.write_text, "c")
    # A second one is ignored until all workers of the first have loaded the application.
    delivers_what_waits(reload, server, collector, url, done=r"(chain reloading complete)")


def delivers_what_waits(
    reload: Callable[[], object],
    server: Process,
    collector: Collector,
    url: str,
    *,
    done: str = "",
) -> None:
    """And a second reload, in the midst of visits, loses nothing.

    `done`: a pattern of the server's log, for when it can be told to reload again.
    """
    collector.answer = lambda call: Reply(503)
    visits = browse(SHOP, url, together=False)
    wait_for_events(collector, errors_in(visits))
    assert not collector.messages
    collector.answer = None
    reload()
    wait_for_uwsgis_workers(server, 4)
    wait_for_lines(server, done, 1)
    visits += browse_and(reload, SHOP, url, collector, together=False)
    wait_for_uwsgis_workers(server, 6)
    all_arrive(server, collector, url, visits)


def all_arrive(server: Process, collector: Collector, url: str, visits: list[Visit]) -> None:
    """Before the server's end: a worker that is just being replaced may be cut off by that."""
    wait_for_events(collector, errors_in(visits))
    collector.wait_for_messages(errors_of_customers(visits), 2 * PATIENCE)
    server.signal(signal.SIGTERM)
    assert server.end() == 0, server.output
    assert arrived(collector) == expected(SHOP, url, visits)


def errors_of_customers(visits: list[Visit]) -> int:
    """How many Segment gets."""
    return sum(visit.is_wrong for visit in visits if visit.customer)


@pytest.mark.parametrize("machine", ["spool"], indirect=True)
@pytest.mark.parametrize("kind", ["example", "one thread", "lazy apps"])
def test_with_a_spool_the_next_workers_deliver_what_killed_ones_left(
    machine: Stack, collector: Collector, tmp_path: Path, kind: str
) -> None:
    """Those that were forked after `init` begin to look with their first error."""
    collector.answer = lambda call: Reply(503)
    server, url = uwsgi(machine, *KINDS[kind])
    visits = browse(SHOP, url, together=False)
    wait_for_events(collector, errors_in(visits))
    pids, left = wait_for_uwsgis_workers(server, 2), errors_of_customers(visits)
    kill_workers(server, pids, tmp_path / "spool.db", left)
    wait_for_uwsgis_workers(server, 4)
    collector.answer = None
    visits += browse(SHOP, url, together=False)
    all_arrive(server, collector, url, visits)
