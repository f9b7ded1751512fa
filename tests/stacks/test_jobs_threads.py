"""Errors that are logged in threads, each under the user whose work the thread does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import Collector
from stacks.arrivals import Mirrored, mirrored, texts_of
from stacks.processes import Stack, stack

USERS = [str(number) for number in range(1, 41)]


@pytest.fixture
def machine(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with stack(collector, tmp_path) as running:
        yield running


def test_what_is_logged_in_threads_arrives_under_each_ones_user(
    machine: Stack, collector: Collector
) -> None:
    letters = [
        letter
        for user in USERS
        for letter in (f"{user}=nowhere-{user}", f"{user}=jo@shop.example", f"=guest-{user}")
    ]
    process = machine.run("worker_thread/newsletter.py", *letters)
    assert process.output.count("sent to jo") == len(USERS)
    assert mirrored(collector) == sorted(
        (
            Mirrored(user, "ValueError", f"no address: nowhere-{user}", "newsletter")
            for user in USERS
        ),
        key=str,
    )
    assert len(collector.events) == 2 * len(USERS)  # the guests' are Sentry's alone


def test_what_is_logged_in_a_pool_arrives_though_nobody_waits_for_the_pool(
    machine: Stack, collector: Collector
) -> None:
    uploads = [each for user in USERS for each in (f"{user}={user}.txt", f"={user}.gif")]
    machine.run("worker_thread/thumbnails.py", *uploads)
    assert mirrored(collector) == sorted(
        (Mirrored(user, "ValueError", f"no image: {user}.txt", "thumbnails") for user in USERS),
        key=str,
    )
    assert set(texts_of(collector.events).values()) == {1}
