"""Ray on one machine: its workers are processes that it kills."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import Call, Collector, Reply
from sqlite_spools import kept
from stacks.arrivals import mirrored, texts_of
from stacks.orders import ORDERS, USERS, errors_of, killed_with_two_in_the_spool
from stacks.processes import Process, Stack, stack

TASKS = ("ray_tasks.tasks.charge", "ray_tasks.tasks.recommend")
"""As Sentry's integration names them."""
ALONE = {
    "RAY_AUTH_MODE": "disabled",  # it would leave a token in the home directory
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # it listens on the loopback address then
    "RAY_USAGE_STATS_ENABLED": "0",
}


@pytest.fixture
def shop(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    folder = tempfile.mkdtemp(prefix="ray")  # a long path has no room for the name of a socket
    try:
        with stack(collector, tmp_path, RAY_TMPDIR=folder, **ALONE) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def order(shop: Stack, *orders: str, **environment: str) -> Process:
    return shop.start("-m", "ray_tasks.shop", *orders, **environment)


def answered_late(call: Call) -> Reply:
    """While one message is under way, the others wait: to kill their process loses them."""
    go = threading.Event()
    threading.Timer(1.5, go.set).start()
    return Reply(delay=go)


def test_each_error_of_a_known_user_arrives_once_though_ray_kills_its_workers(
    shop: Stack, collector: Collector
) -> None:
    collector.answer = answered_late
    driver = order(shop, *ORDERS)
    assert driver.end() == 0, driver.output
    assert mirrored(collector) == errors_of(USERS, *TASKS)
    assert set(texts_of(collector.events).values()) == {2}  # the visitors' are Sentry's alone


def test_with_a_spool_the_next_workers_deliver_what_killed_ones_left(
    shop: Stack, collector: Collector, tmp_path: Path
) -> None:
    spool = tmp_path / "spool.db"
    collector.answer = lambda call: Reply(429, {"Retry-After": "300"})
    first = order(shop, "7=unicorn-7", SEGMENT_SPOOL=str(spool))
    killed_with_two_in_the_spool(first, collector, spool)
    second = order(shop, "8=unicorn-8", SEGMENT_SPOOL=str(spool))
    assert second.end() == 0, second.output
    assert mirrored(collector) == errors_of(["7", "8"], *TASKS)
    assert kept(spool) == []
