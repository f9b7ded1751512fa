"""Dramatiq's workers on a real Redis: processes with threads."""

from __future__ import annotations

import signal
from collections.abc import Iterator
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


def worker(shop: Stack, **environment: str) -> Process:
    options = ("--processes", "2", "--threads", "4")
    return shop.start("-m", "dramatiq", *options, "dramatiq_redis.tasks", **environment)


def test_each_error_of_a_known_user_arrives_once_and_the_end_waits_for_segment(
    shop: Stack, collector: Collector
) -> None:
    each_error_arrives_once_and_the_end_waits(
        shop, collector, "dramatiq_redis", worker, signal.SIGTERM
    )


def test_with_a_spool_the_next_workers_deliver_what_killed_ones_left(
    shop: Stack, collector: Collector, tmp_path: Path
) -> None:
    spool = tmp_path / "spool.db"
    the_next_delivers_what_a_killed_one_left(shop, collector, "dramatiq_redis", worker, spool)
