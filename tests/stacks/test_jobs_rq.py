"""RQ's workers on a real Redis: each job in a process of its own, which ends by `os._exit`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import Collector, Reply
from redis_servers import redis_server
from stacks.arrivals import mirrored, texts_of, wait_for_events
from stacks.orders import ORDERS, USERS, errors_of
from stacks.processes import PATIENCE, Process, Stack, stack

CHARGE, RECOMMEND = "rq_worker.jobs.charge", "rq_worker.jobs.recommend"


@pytest.fixture
def shop(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with redis_server(tmp_path) as url, stack(collector, tmp_path, REDIS_URL=url) as running:
        yield running


def worker(shop: Stack, *options: str, **environment: str) -> Process:
    return shop.start(
        *("-m", "rq.cli", "worker", "-c", "rq_worker.settings"), *options, **environment
    )


def order(shop: Stack, *orders: str) -> None:
    """Two jobs for each, `USER=ARTICLE`."""
    shop.run("-m", "rq_worker.order", *orders)


@pytest.mark.parametrize("kind", ["rq.worker.Worker", "rq.worker.SimpleWorker"])
def test_each_error_of_a_known_user_arrives_once_under_that_user(
    shop: Stack, collector: Collector, kind: str
) -> None:
    """SimpleWorker runs all jobs in one process."""
    order(shop, *ORDERS)
    running = worker(shop, "--burst", "--worker-class", kind)
    assert running.end() == 0, running.output
    assert mirrored(collector) == errors_of(USERS, CHARGE, RECOMMEND)
    assert set(texts_of(collector.events).values()) == {2}  # the visitors' are Sentry's alone


def test_a_worker_that_is_told_to_stop_ends_its_job_first(
    shop: Stack, collector: Collector
) -> None:
    stopping = threading.Event()
    collector.answer = lambda call: Reply(delay=stopping)
    running = worker(shop)
    order(shop, "7=unicorn-7")
    wait_for_events(collector, 1)
    running.signal(signal.SIGTERM)
    threading.Timer(0.5, stopping.set).start()
    assert running.end() == 0, running.output
    assert {each.user for each in mirrored(collector)} == {"7"}
    assert len(mirrored(collector)) == len(collector.events)


def test_with_a_spool_the_next_worker_delivers_what_segment_did_not_take(
    shop: Stack, collector: Collector, tmp_path: Path
) -> None:
    spool = str(tmp_path / "spool.db")
    collector.answer = lambda call: Reply(503)
    order(shop, "7=unicorn-7")
    first = worker(shop, "--burst", SEGMENT_SPOOL=spool)
    assert first.end() == 0, first.output
    assert not collector.messages
    collector.answer = None
    order(shop, "8=unicorn-8")
    # The job's process is gone without a word: its messages are free once its lease has lapsed.
    worker(shop, SEGMENT_SPOOL=spool)
    collector.wait_for_messages(4, timeout=3 * PATIENCE)
    assert mirrored(collector) == errors_of(["7", "8"], CHARGE, RECOMMEND)
