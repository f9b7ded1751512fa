"""Huey's consumer on a real Redis: threads, and processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from collector import Collector
from redis_servers import redis_server
from stacks.orders import (
    each_error_arrives_once_and_the_end_waits,
    the_next_delivers_what_a_killed_one_left,
)
from stacks.processes import Process, Stack, stack


@pytest.fixture
def shop(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with redis_server(tmp_path) as url, stack(collector, tmp_path, REDIS_URL=url) as running:
        yield running


def consumer(shop: Stack, *, kind: str, **environment: str) -> Process:
    options = ("--workers", "4", "--worker-type", kind)
    consumer = "huey.bin.huey_consumer"
    return shop.start("-m", consumer, *options, "huey_redis.tasks.huey", **environment)


@pytest.mark.parametrize(
    ("kind", "end"),
    [("thread", signal.SIGINT), ("process", signal.SIGINT), ("thread", signal.SIGTERM)],
)
def test_each_error_of_a_known_user_arrives_once_and_the_end_waits_for_segment(
    shop: Stack, collector: Collector, kind: str, end: signal.Signals
) -> None:
    worker = partial(consumer, kind=kind)
    each_error_arrives_once_and_the_end_waits(shop, collector, "huey_redis", worker, end)


def test_with_a_spool_the_next_consumer_delivers_what_a_killed_one_left(
    shop: Stack, collector: Collector, tmp_path: Path
) -> None:
    worker = partial(consumer, kind="thread")
    spool = tmp_path / "spool.db"
    the_next_delivers_what_a_killed_one_left(
        shop, collector, "huey_redis", worker, spool, signal.SIGINT
    )
