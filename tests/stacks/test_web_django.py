"""Django under gunicorn: real log-ins of django.contrib.auth, in each kind of worker."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from collector import Collector, Reply
from stacks import test_web_fastapi
from stacks.arrivals import wait_for_events
from stacks.browsing import Shop, arrived, browse, browse_and, errors_in, expected
from stacks.processes import Stack, stack
from stacks.servers import gunicorn, wait_for_lines
from tunnels import EVENT, envelope

APP = "django_gunicorn.wsgi"
CUSTOMERS = {"1": "ann", "2": "ben", "3": "cem"}
PASSWORD = "a password for all"
KINDS = {
    "sync": ("--preload",),
    "gthread": ("--preload", "--worker-class", "gthread", "--threads", "8"),
    "gevent": ("--config", "django_gunicorn/gevent_conf.py"),
}


def enter(browser: httpx.Client, customer: str | None) -> None:
    assert browser.get("/login").is_success  # sets the CSRF cookie
    if customer is None:
        return
    form = {
        "username": CUSTOMERS[customer],
        "password": PASSWORD,
        "csrfmiddlewaretoken": browser.cookies["csrftoken"],
    }
    response = browser.post("/login", data=form)
    assert response.headers["Location"] == "/account", response.text


SHOP = Shop(enter, "/{}/{{article}}", list(CUSTOMERS))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("database")
    path = folder / "shop.sqlite3"
    with Collector() as collector, stack(collector, folder, SHOP_DATABASE=str(path)) as running:
        running.run("-m", "django_gunicorn.customers", *CUSTOMERS.values(), SHOP_PASSWORD=PASSWORD)
    return path


@pytest.fixture
def machine(collector: Collector, tmp_path: Path, database: Path) -> Iterator[Stack]:
    own = shutil.copy(database, tmp_path)
    with stack(collector, tmp_path, SHOP_DATABASE=str(own)) as running:
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


@pytest.mark.parametrize("kind", ["sync", "gevent"])
def test_workers_that_are_replaced_while_they_serve_lose_nothing(
    machine: Stack, collector: Collector, kind: str
) -> None:
    """After a few requests each, and by HUP in the midst of visits."""
    server, url = gunicorn(machine, APP, *KINDS[kind], "--max-requests", "12")
    visits = browse(SHOP, url, together=False)  # more requests than the first two are to serve
    assert wait_for_lines(server, "Booting worker", 3)
    wait_for_events(collector, errors_in(visits))
    hang_up = partial(server.signal, signal.SIGHUP)
    visits += browse_and(hang_up, SHOP, url, collector, together=False)
    server.signal(signal.SIGTERM)
    assert server.end() == 0, server.output
    assert wait_for_lines(server, "Booting worker", 5)
    assert arrived(collector) == expected(SHOP, url, visits)


def test_under_asgi_each_error_arrives_once_and_so_do_the_browsers(
    machine: Stack, collector: Collector
) -> None:
    """Segment answers only once the workers are about to end."""
    ending = threading.Event()
    collector.answer = lambda call: Reply(delay=ending)
    server, url = test_web_fastapi.uvicorn(machine, 2, "django_gunicorn.asgi:application")
    visits = browse(SHOP, url)
    wait_for_events(collector, errors_in(visits))
    server.signal(signal.SIGTERM)
    wait_for_lines(server, "Waiting for application shutdown", 2)
    ending.set()
    server.end()
    assert arrived(collector) == expected(SHOP, url, visits)


def test_under_asgi_the_tunnel_takes_a_browsers_error(machine: Stack, collector: Collector) -> None:
    server, url = test_web_fastapi.uvicorn(machine, 1, "django_gunicorn.asgi:application")
    body = envelope(collector.dsn, ("event", EVENT))
    assert httpx.post(f"{url}/tunnel", content=body, trust_env=False).status_code == 200
    [message] = collector.wait_for_messages(1)
    assert message["messageId"] == EVENT["event_id"]
    server.signal(signal.SIGTERM)
    server.end()
