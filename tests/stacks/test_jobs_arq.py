"""arq's worker on a real Redis: one event loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import Collector, Reply
from redis_servers import redis_server
from sqlite_spools import kept, let_leases_lapse
from stacks.arrivals import mirrored, texts_of, wait_for_events
from stacks.orders import ORDERS, USERS, errors_of
from stacks.processes import Process, Stack, stack

PYTHON = Path(__file__).parent.parent.parent / ".venv" / "arq" / "bin" / "python"
"""Which `scripts/test --stacks` makes: arq and Celery do not go into one environment."""


@pytest.fixture
def shop(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with (
        redis_server(tmp_path) as url,
        stack(collector, tmp_path, str(PYTHON), REDIS_URL=url) as running,
    ):
        yield running


def worker(shop: Stack, **environment: str) -> Process:
    return shop.start("-m", "arq", "arq_redis.tasks.Worker", **environment)


def order(shop: Stack, *orders: str) -> None:
    shop.run("-m", "arq_redis.order", *orders)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_each_error_of_a_known_user_arrives_once_and_the_end_waits_for_segment(
    shop: Stack, collector: Collector, end: signal.Signals
) -> None:
    go = threading.Event()
    collector.answer = lambda call: Reply(delay=go)
    order(shop, *ORDERS)
    running = worker(shop)
    wait_for_events(collector, 12)
    running.signal(end)
    threading.Timer(0.5, go.set).start()
    assert running.end() == 0, running.output
    assert mirrored(collector) == errors_of(USERS, "charge", "recommend")
    assert set(texts_of(collector.events).values()) == {2}  # the visitors' are Sentry's alone


def test_with_a_spool_the_next_worker_delivers_what_a_killed_one_left(
    shop: Stack, collector: Collector, tmp_path: Path
) -> None:
    spool = tmp_path / "spool.db"
    collector.answer = lambda call: Reply(429, {"Retry-After": "300"})
    order(shop, "7=unicorn-7")
    first = worker(shop, SEGMENT_SPOOL=str(spool))
    wait_for_events(collector, 2)
    assert collector.wait_for(lambda: bool(collector.calls) and len(kept(spool)) == 2)
    assert collector.wait_for(lambda: all(call.status == 429 for call in collector.calls))
    first.kill_all()
    collector.answer = None
    let_leases_lapse(spool)
    order(shop, "8=unicorn-8")
    second = worker(shop, SEGMENT_SPOOL=str(spool))
    collector.wait_for_messages(4)
    second.signal(signal.SIGTERM)
    assert second.end() == 0, second.output
    assert mirrored(collector) == errors_of(["7", "8"], "charge", "recommend")
    assert kept(spool) == []
