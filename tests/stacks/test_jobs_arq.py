"""arq's worker on a real Redis: one event loop."""

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


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_each_error_of_a_known_user_arrives_once_and_the_end_waits_for_segment(
    shop: Stack, collector: Collector, end: signal.Signals
) -> None:
    each_error_arrives_once_and_the_end_waits(shop, collector, "arq_redis", worker, end)


def test_with_a_spool_the_next_worker_delivers_what_a_killed_one_left(
    shop: Stack, collector: Collector, tmp_path: Path
) -> None:
    spool = tmp_path / "spool.db"
    the_next_delivers_what_a_killed_one_left(shop, collector, "arq_redis", worker, spool)
