"""FastAPI under uvicorn, by itself and as gunicorn's worker: log-ins by HTTP Basic."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest

from collector import Collector, Reply
from stacks.arrivals import Mirrored, mirrored, wait_for_events
from stacks.browsing import Shop, arrived, browse, browse_and, errors_in, expected
from stacks.processes import PATIENCE, Process, Stack, stack
from stacks.servers import gunicorn, kill_workers, url, wait_for_lines

PASSWORDS = {"7": "seven", "8": "eight", "9": "nine"}


def enter(browser: httpx.Client, customer: str | None) -> None:
    if customer is not None:
        browser.auth = (customer, PASSWORDS[customer])


SHOP = Shop(enter, "/{}/{{article}}", list(PASSWORDS), sends_ip=False)


@pytest.fixture
def machine(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with stack(collector, tmp_path) as running:
        yield running


def uvicorn(
    machine: Stack, workers: int, app: str = "fastapi_uvicorn.shop:app", **environment: str
) -> tuple[Process, str]:
    """Its URL, once it is ready."""
    address = ("--host", "127.0.0.1", "--port", "0")
    # A new worker that is not ready in 5 seconds would be given up: too few on a busy machine.
    options = ("--workers", str(workers), "--timeout-worker-healthcheck", str(int(PATIENCE)))
    server = machine.start("-m", "uvicorn", *address, *options, app, **environment)
    wait_for_lines(server, "Application startup complete", workers)
    return server, url(server)


def uvicorn_in_gunicorn(machine: Stack, workers: int, **environment: str) -> tuple[Process, str]:
    """Its URL, once its workers, two, are ready."""
    patience = ("--timeout", str(int(PATIENCE)), "--graceful-timeout", str(int(PATIENCE)))
    options = ("--worker-class", "uvicorn_worker.UvicornWorker", *patience)
    server, url = gunicorn(machine, "fastapi_uvicorn.shop:app", *options, **environment)
    wait_for_lines(server, "Application startup complete", workers)
    return server, url


Serve = Callable[..., tuple[Process, str]]


@pytest.mark.parametrize(
    ("serve", "workers"), [(uvicorn, 1), (uvicorn, 2), (uvicorn_in_gunicorn, 2)]
)
def test_each_error_arrives_once_with_its_user_and_request_and_the_end_waits_for_segment(
    machine: Stack, collector: Collector, serve: Serve, workers: int
) -> None:
    """Segment is away at first, and then answers only once the workers are about to end."""
    back, ending = threading.Event(), threading.Event()
    collector.answer = lambda call: Reply(delay=ending) if back.is_set() else Reply(503)
    server, url = serve(machine, workers)
    visits = browse(SHOP, url)
    wait_for_events(collector, errors_in(visits))
    assert not collector.messages
    back.set()
    server.signal(signal.SIGTERM)
    wait_for_lines(server, "Waiting for application shutdown", workers)
    ending.set()
    server.end()
    assert arrived(collector) == expected(SHOP, url, visits)


@pytest.mark.parametrize("workers", [1, 2])
def test_under_hypercorn_each_error_arrives_once_too(
    machine: Stack, collector: Collector, workers: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ("--bind", address, "--workers", str(workers), "--graceful-timeout", "60")
    server = machine.start("-m", "hypercorn", *options, "fastapi_uvicorn.shop:app")
    wait_for_lines(server, "Running on http://", workers)
    visits = browse(SHOP, f"http://{address}")
    wait_for_events(collector, errors_in(visits))
    server.signal(signal.SIGTERM)
    assert server.end() in (0, -signal.SIGTERM), server.output
    assert arrived(collector) == expected(SHOP, f"http://{address}", visits)


def test_what_fails_after_the_answer_is_the_error_of_whoever_asked(
    machine: Stack, collector: Collector
) -> None:
    """In Starlette's background tasks, of several at once."""
    server, url = uvicorn(machine, workers=1)

    def ask(customer: str) -> int:
        login = (customer, PASSWORDS[customer])
        with httpx.Client(base_url=url, auth=login, timeout=PATIENCE, trust_env=False) as browser:
            return browser.post(f"/remind/unicorn-{customer}").status_code

    with ThreadPoolExecutor(len(PASSWORDS)) as pool:
        assert list(pool.map(ask, PASSWORDS)) == [202] * len(PASSWORDS)
    collector.wait_for_messages(len(PASSWORDS))
    server.signal(signal.SIGTERM)
    server.end()
    assert mirrored(collector) == [
        Mirrored(customer, "KeyError", f"'unicorn-{customer}'", "/remind/{article}")
        for customer in PASSWORDS
    ]


def test_workers_that_are_replaced_while_they_serve_lose_nothing(
    machine: Stack, collector: Collector
) -> None:
    """By HUP, in the midst of the visits."""
    server, url = uvicorn(machine, workers=2)
    visits = browse_and(partial(server.signal, signal.SIGHUP), SHOP, url, collector)
    wait_for_lines(server, "Application shutdown complete", 2)
    visits += browse(SHOP, url)
    server.signal(signal.SIGTERM)
    assert server.end() == 0, server.output
    assert len(wait_for_lines(server, "Started server process", 4)) == 4
    assert arrived(collector) == expected(SHOP, url, visits)


def test_gunicorns_workers_that_are_replaced_lose_nothing(
    machine: Stack, collector: Collector
) -> None:
    """By HUP, between visits: uvicorn in gunicorn may reset connections that arrive meanwhile."""
    back, ending = threading.Event(), threading.Event()
    collector.answer = lambda call: Reply(delay=ending) if back.is_set() else Reply(503)
    server, url = uvicorn_in_gunicorn(machine, workers=2)
    visits = browse(SHOP, url)
    wait_for_events(collector, errors_in(visits))
    back.set()
    server.signal(signal.SIGHUP)
    wait_for_lines(server, "Waiting for application shutdown", 2)
    ending.set()
    wait_for_lines(server, "Application shutdown complete", 2)
    wait_for_lines(server, "Application startup complete", 4)
    visits += browse(SHOP, url)
    server.signal(signal.SIGTERM)
    assert server.end() == 0, server.output
    assert arrived(collector) == expected(SHOP, url, visits)


@pytest.mark.parametrize("serve", [uvicorn, uvicorn_in_gunicorn])
def test_with_a_spool_the_next_workers_deliver_what_killed_ones_left(
    machine: Stack, collector: Collector, tmp_path: Path, serve: Serve
) -> None:
    spool = tmp_path / "spool.db"
    collector.answer = lambda call: Reply(503)
    server, url = serve(machine, workers=2, SEGMENT_SPOOL=str(spool))
    visits = browse(SHOP, url)
    wait_for_events(collector, errors_in(visits))
    left = sum(visit.is_wrong for visit in visits if visit.customer)
    kill_workers(
        server, wait_for_lines(server, r"Started server process \[(\d+)\]", 2), spool, left
    )
    collector.answer = None
    collector.wait_for_messages(left, 2 * PATIENCE)
    server.signal(signal.SIGTERM)
    assert server.end() == 0, server.output
    assert arrived(collector) == expected(SHOP, url, visits)
