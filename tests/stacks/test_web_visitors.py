"""Visitors of the web servers' shops: each error has its visitor's anonymous id, and no other's."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from collector import Collector
from stacks import test_web_django, test_web_fastapi, test_web_flask
from stacks.arrivals import exception, wait_for_events
from stacks.browsing import Shop
from stacks.processes import PATIENCE, Process, Stack, stack
from stacks.servers import gunicorn
from stacks.test_web_django import database as database

Start = Callable[[Stack], tuple[Process, str]]

SERVERS: dict[str, tuple[Start, Shop]] = {
    "django": (
        lambda machine: gunicorn(
            machine, "django_gunicorn.wsgi", "--worker-class", "gthread", "--threads", "8"
        ),
        test_web_django.SHOP,
    ),
    "flask": (
        lambda machine: gunicorn(machine, test_web_flask.APP, "--worker-class", "gevent"),
        test_web_flask.SHOP,
    ),
    "fastapi": (lambda machine: test_web_fastapi.uvicorn(machine, 1), test_web_fastapi.SHOP),
}


@pytest.fixture
def machine(collector: Collector, tmp_path: Path, database: Path) -> Iterator[Stack]:
    own = tmp_path / "shop.sqlite3"
    own.write_bytes(database.read_bytes())
    with stack(collector, tmp_path, SHOP_DATABASE=str(own)) as running:
        yield running


@pytest.mark.parametrize("server", SERVERS)
def test_each_error_has_the_ids_of_its_own_request(
    machine: Stack, collector: Collector, server: str
) -> None:
    start, shop = SERVERS[server]
    running, url = start(machine)
    customer = shop.customers[0]

    def visit(number: int) -> None:
        """Of a visitor with the cookie, one without, and a customer with it, in turn."""
        with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as browser:
            if number % 3 != 1:
                browser.cookies.set("ajs_anonymous_id", f"%22visitor-{number}%22")
            shop.enter(browser, customer if number % 3 == 2 else None)
            for page in range(2):
                assert browser.get(f"/recommend/unicorn-{number}-{page}").is_success

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(24)))
    wait_for_events(collector, 48)
    running.signal(signal.SIGTERM)
    assert running.end() in (0, -signal.SIGTERM), running.output
    texts = {event["event_id"]: exception(event)["value"] for event in collector.events}
    ids = {
        texts[message["messageId"]]: (message.get("userId"), message.get("anonymousId"))
        for message in collector.messages
    }
    assert ids == {
        f"'unicorn-{n}-{page}'": (customer if n % 3 == 2 else None, f"visitor-{n}")
        for n in range(24)
        for page in range(2)
        if n % 3 != 1
    }
    assert "visitor-" not in str([event["request"].get("headers") for event in collector.events])
