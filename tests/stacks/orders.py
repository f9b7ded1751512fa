"""What the examples' jobs are asked for: by each user an article that is there and one that is not,
and by visitors one that is not. And what holds of them, whoever runs them."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Protocol

from collector import Collector, Reply
from sqlite_spools import kept, let_leases_lapse
from stacks.arrivals import Mirrored, mirrored, texts_of, wait_for_events
from stacks.processes import Process, Stack

USERS = ["7", "8", "9"]
ORDERS = [
    order for user in USERS for order in (f"{user}=unicorn-{user}", f"{user}=cup", f"=ghost-{user}")
]
"""As the examples take them, `USER=ARTICLE`."""


def errors_of(users: list[str], *jobs: str) -> list[Mirrored]:
    """One for each of these users in each of the jobs, which have these names."""
    found = [Mirrored(user, "KeyError", f"'unicorn-{user}'", job) for user in users for job in jobs]
    return sorted(found, key=str)


class Worker(Protocol):
    """Starts what runs the jobs."""

    def __call__(self, shop: Stack, **environment: str) -> Process: ...


def order(shop: Stack, module: str, *orders: str) -> None:
    """By a process of its own: `python -m MODULE.order USER=ARTICLE...`."""
    shop.run("-m", f"{module}.order", *orders)


def each_error_arrives_once_and_the_end_waits(
    shop: Stack, collector: Collector, module: str, worker: Worker, end: signal.Signals
) -> None:
    """The worker is told to end while Segment is yet to answer."""
    go = threading.Event()
    collector.answer = lambda call: Reply(delay=go)
    order(shop, module, *ORDERS)
    running = worker(shop)
    wait_for_events(collector, 12)
    running.signal(end)
    threading.Timer(0.5, go.set).start()
    assert running.end() == 0, running.output
    assert mirrored(collector) == errors_of(USERS, "charge", "recommend")
    assert set(texts_of(collector.events).values()) == {2}  # the visitors' are Sentry's alone


def the_next_delivers_what_a_killed_one_left(
    shop: Stack,
    collector: Collector,
    module: str,
    worker: Worker,
    spool: Path,
    end: signal.Signals = signal.SIGTERM,
) -> None:
    collector.answer = lambda call: Reply(429, {"Retry-After": "300"})
    order(shop, module, "7=unicorn-7")
    first = worker(shop, SEGMENT_SPOOL=str(spool))
    killed_with_two_in_the_spool(first, collector, spool)
    order(shop, module, "8=unicorn-8")
    second = worker(shop, SEGMENT_SPOOL=str(spool))
    collector.wait_for_messages(4)
    second.signal(end)
    assert second.end() == 0, second.output
    assert mirrored(collector) == errors_of(["7", "8"], "charge", "recommend")
    assert kept(spool) == []


def killed_with_two_in_the_spool(running: Process, collector: Collector, spool: Path) -> None:
    """Segment is back, and the leases have lapsed, when this returns."""
    wait_for_events(collector, 2)
    assert collector.wait_for(lambda: bool(collector.calls) and len(kept(spool)) == 2)
    assert collector.wait_for(lambda: all(call.status == 429 for call in collector.calls))
    running.kill_all()
    collector.answer = None
    let_leases_lapse(spool)
