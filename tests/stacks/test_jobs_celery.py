"""Celery's prefork workers on a real Redis: what a task's error becomes, and what an end leaves."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from collector import Collector, Reply
from redis_servers import redis_server
from stacks.arrivals import Mirrored, mirrored, texts_of, wait_for_events
from stacks.processes import PATIENCE, Process, Stack, stack, wait_until

CHARGE, RECOMMEND = "celery_redis.tasks.charge", "celery_redis.tasks.recommend"
USERS = [str(number) for number in range(1, 9)]


@pytest.fixture
def shop(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with redis_server(tmp_path) as url, stack(collector, tmp_path, REDIS_URL=url) as running:
        yield running


def worker(shop: Stack, *options: str, **environment: str) -> Process:
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    command = ("-m", "celery", "-A", "celery_redis.tasks", "worker", "--loglevel", "INFO")
    return shop.start(*command, "--concurrency", "2", *quiet, *options, **environment)


def order(shop: Stack, *orders: str) -> None:
    """Two tasks for each, `USER=ARTICLE`."""
    shop.run("-m", "celery_redis.order", *orders)


def mixed_orders() -> list[str]:
    """What fails, by users and by visitors, between what does not."""
    return [
        order
        for user in USERS
        for order in (f"{user}=unicorn-{user}", f"{user}=cup", f"=ghost-{user}", "=teapot")
    ]


def wait_for_the_tasks(shop: Stack, running: Process) -> None:
    """Wait until all of `mixed_orders` are done, and Sentry has their errors.

    Done for the worker's first process too, not only for the children, whose lines these are: told
    to end (QUIT) while it reads a child's result, Celery waits for ever for that result.
    """
    done = re.compile(r"Task \S+ (?:succeeded|raised)")
    tasks = 2 * len(mixed_orders())
    assert wait_until(lambda: len(done.findall(running.output)) == tasks), running.output
    wait_for_events(shop.collector, 4 * len(USERS))
    with Celery(broker=shop.environment["REDIS_URL"]) as app:
        asked = app.control.inspect(limit=1)
        assert wait_until(lambda: list((asked.active() or {}).values()) == [[]]), running.output


def errors_of(users: list[str]) -> list[Mirrored]:
    """What is to be mirrored of a failing order by each of the users."""
    tasks = (CHARGE, RECOMMEND)
    return sorted(
        (
            Mirrored(user, "KeyError", f"'unicorn-{user}'", transaction)
            for user in users
            for transaction in tasks
        ),
        key=str,
    )


def test_each_error_of_a_known_user_arrives_once_under_that_user(
    shop: Stack, collector: Collector
) -> None:
    order(shop, *mixed_orders())
    running = worker(shop)
    wait_for_the_tasks(shop, running)
    running.signal(signal.SIGTERM)
    assert running.end() == 0, running.output
    assert mirrored(collector) == errors_of(USERS)
    assert set(texts_of(collector.events).values()) == {2}  # the visitors' are Sentry's alone


@pytest.mark.parametrize("tasks", ["1", "3"])
def test_children_that_are_replaced_under_load_lose_nothing(
    shop: Stack, collector: Collector, tasks: str
) -> None:
    order(shop, *mixed_orders())
    running = worker(shop, "--max-tasks-per-child", tasks)
    wait_for_the_tasks(shop, running)
    running.signal(signal.SIGTERM)
    assert running.end() == 0, running.output
    assert mirrored(collector) == errors_of(USERS)


def test_a_warm_shutdown_waits_for_a_segment_that_is_slow(
    shop: Stack, collector: Collector
) -> None:
    """Segment is away at first, and then answers only once the shutdown is under way."""
    back, shutting_down = threading.Event(), threading.Event()
    collector.answer = lambda call: Reply(delay=shutting_down) if back.is_set() else Reply(503)
    order(shop, *mixed_orders())
    running = worker(shop)
    wait_for_the_tasks(shop, running)
    assert not collector.messages
    back.set()
    running.signal(signal.SIGTERM)
    threading.Timer(0.5, shutting_down.set).start()
    assert running.end() == 0, running.output
    assert mirrored(collector) == errors_of(USERS)


def test_with_a_spool_whoever_comes_next_delivers_what_segment_did_not_take(
    shop: Stack, collector: Collector, tmp_path: Path
) -> None:
    spool = str(tmp_path / "spool.db")
    collector.answer = lambda call: Reply(503)
    order(shop, *mixed_orders())
    running = worker(shop, SEGMENT_SPOOL=spool)
    wait_for_the_tasks(shop, running)
    running.signal(signal.SIGTERM)
    assert running.end() == 0, running.output
    assert not collector.messages
    collector.answer = None
    customers = tmp_path / "customers.csv"
    customers.write_text("id,amount\n")
    shop.run("cron_script/invoices.py", str(customers), SEGMENT_SPOOL=spool)
    assert mirrored(collector) == errors_of(USERS)


def test_with_a_spool_a_cold_shutdown_loses_nothing(
    shop: Stack, collector: Collector, tmp_path: Path
) -> None:
    spool = str(tmp_path / "spool.db")
    collector.answer = lambda call: Reply(503)
    order(shop, *mixed_orders())
    running = worker(shop, SEGMENT_SPOOL=spool)
    wait_for_the_tasks(shop, running)
    running.signal(signal.SIGQUIT)
    running.end()
    collector.answer = None
    # The children are gone without a word: their messages are free once their lease has lapsed.
    worker(shop, SEGMENT_SPOOL=spool)
    collector.wait_for_messages(2 * len(USERS), timeout=3 * PATIENCE)
    assert mirrored(collector) == errors_of(USERS)
