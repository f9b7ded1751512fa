"""Flask under gunicorn: real log-ins of Flask-Login, in each kind of worker."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from collector import Collector, Reply
from stacks.arrivals import wait_for_events
from stacks.browsing import Shop, arrived, browse, browse_and, errors_in, expected
from stacks.processes import PATIENCE, Stack, stack
from stacks.servers import gunicorn, kill_workers, wait_for_lines

APP = "flask_gunicorn.shop:app"
PASSWORDS = {"7": "seven", "8": "eight", "9": "nine"}


def enter(browser: httpx.Client, customer: str | None) -> None:
    if customer is not None:
        form = {"username": customer, "password": PASSWORDS[customer]}
        assert browser.post("/login", data=form).is_success


SHOP = Shop(enter, "{}", list(PASSWORDS))

KINDS = {
    "sync": ("--preload",),
    "gthread": ("--worker-class", "gthread", "--threads", "8"),
    "gevent": ("--worker-class", "gevent"),
}


@pytest.fixture
def machine(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with stack(collector, tmp_path) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_arrives_once_with_its_user_and_request_and_the_end_waits_for_segment(
    machine: Stack, collector: Collector, kind: str
) -> None:
    """Segment is away at first, and then answers only once the workers are about to end."""
    back, ending = threading.Event(), threading.Event()
    collector.answer = lambda call: Reply(delay=ending) if back.is_set() else Reply(503)
    server, url = gunicorn(machine, APP, *KINDS[kind])
    visits = browse(SHOP, url, together=kind != "sync")
    wait_for_events(collector, errors_in(visits))
    assert not collector.messages
    back.set()
    server.signal(signal.SIGTERM)
    wait_for_lines(server, r"Worker exiting", 2)
    ending.set()
    assert server.end() == 0, server.output
    assert arrived(collector) == expected(SHOP, url, visits)


def test_workers_that_are_replaced_while_they_serve_lose_nothing(
    machine: Stack, collector: Collector
) -> None:
    """After a few requests each, and by HUP, which loads the application anew, in the midst of
    visits."""
    server, url = gunicorn(machine, APP, *KINDS["gthread"], "--max-requests", "12")
    visits = browse(SHOP, url, together=False)  # more requests than the first two are to serve
    assert wait_for_lines(server, "Booting worker", 3)
    wait_for_events(collector, errors_in(visits))
    hang_up = partial(server.signal, signal.SIGHUP)
    visits += browse_and(hang_up, SHOP, url, collector, together=False)
    server.signal(signal.SIGTERM)
    assert server.end() == 0, server.output
    assert wait_for_lines(server, "Booting worker", 5)
    assert arrived(collector) == expected(SHOP, url, visits)


def test_with_a_spool_the_next_workers_deliver_what_killed_ones_left(
    machine: Stack, collector: Collector, tmp_path: Path
) -> None:
    spool = tmp_path / "spool.db"
    collector.answer = lambda call: Reply(503)
    server, url = gunicorn(machine, APP, *KINDS["gthread"], SEGMENT_SPOOL=str(spool))
    visits = browse(SHOP, url)
    wait_for_events(collector, errors_in(visits))
    left = sum(visit.is_wrong for visit in visits if visit.customer)
    kill_workers(server, wait_for_lines(server, r"Booting worker with pid: (\d+)", 2), spool, left)
    collector.answer = None
    collector.wait_for_messages(left, 2 * PATIENCE)
    server.signal(signal.SIGTERM)
    assert server.end() == 0, server.output
    assert arrived(collector) == expected(SHOP, url, visits)
