"""A fleet on one Redis: what it asks of it, and how soon what a dead tenth has left is taken over.

The workers are light: spools, which do what the mirror's thread does with one, and no applications.
Each has a connection of its own. They write, take their turn, read and delete a message every few
seconds, and tend their leases every ten.
"""

from __future__ import annotations

import heapq
import itertools
import random
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from benchmarks.figures import Effort, Figure, Table, Target
from benchmarks.redis_spool import redis
from benchmarks.spread import Spread

_PROCESSES = 4
_READY, _GO = "ready", "go"  # lists, by which the processes begin together
_LEFT = 50  # messages that each of those who die leaves
_BODY = b'{"type":"track","userId":"u","padding":"%s"}' % (b"x" * 1_000)


@dataclass(frozen=True)
class Plan:
    """Seconds are those after the start."""

    workers: int
    every: float
    """Seconds from a worker's message to its next."""
    lease: float
    begins: float
    """When all have begun, and it is measured from."""
    dies: float
    """When a tenth does, until when it is measured."""
    ends: float


class _Worker:
    def __init__(self, url: str, plan: Plan, dies: bool) -> None:
        from sentry_segment.spool.redis import RedisSpool

        self._spool = RedisSpool(url, 1_000_000_000, "fleet", lambda *_: None)
        self._plan = plan
        self._dies = dies
        self._held: dict[int, int] = {}
        self.claims: list[tuple[float, int]] = []

    def message(self) -> None:
        self._spool.add([_BODY])
        assert self._spool.writer is not None
        self._held.setdefault(self._spool.writer, 0)
        self._spool.turn(20, 0.005, 1.0)
        self._empty([self._spool.writer])

    def tend(self) -> None:
        claimed, lost = self._spool.tend(list(self._held))
        for writer in lost:
            del self._held[writer]
        if claimed:
            self.claims.append((time.time(), sum(claimed.values())))
            self._empty(list(claimed))

    def die(self) -> bool:
        if self._dies:
            self._spool.add([_BODY] * _LEFT)
        return self._dies

    def _empty(self, writers: Sequence[int]) -> None:
        while rows := self._spool.read(writers, ()):
            self._spool.delete([row.id for row in rows])


def live(url: str, plan: Plan, first: int, count: int) -> list[tuple[float, int]]:
    """So many workers in this process, one after the other; what they have taken over, and when."""
    from redis import Redis

    import sentry_segment.spool.redis

    sentry_segment.spool.redis.LEASE = plan.lease  # type: ignore[attr-defined]
    with Redis.from_url(url) as server:
        server.rpush(_READY, first)
        [_, start] = server.blpop([_GO])
    started = float(start)
    choice = random.Random(first)
    workers = [_Worker(url, plan, dies=n % 10 == 9) for n in range(first, first + count)]
    order = itertools.count()
    due: list[tuple[float, int, _Worker, Any, float]] = []
    for worker in workers:
        for what, every in ((_Worker.message, plan.every), (_Worker.tend, plan.lease / 3)):
            at = started + choice.uniform(0, min(every, plan.begins))
            heapq.heappush(due, (at, next(order), worker, what, every))
    dead: set[_Worker] = set()
    while due:
        at, _, worker, what, every = heapq.heappop(due)
        if at > started + plan.ends or worker in dead:
            continue
        time.sleep(max(0.0, at - time.time()))
        if at > started + plan.dies and worker.die():
            dead.add(worker)
            continue
        what(worker)
        heapq.heappush(due, (at + every, next(order), worker, what, every))
    return [claim for worker in workers for claim in worker.claims]


def _facts(server: Any) -> dict[str, float]:
    found = server.info()
    return {
        "cpu": found["used_cpu_user"] + found["used_cpu_sys"],
        "commands": sum(
            each["calls"]
            for name, each in server.info("commandstats").items()
            if name in ("cmdstat_evalsha", "cmdstat_eval")
        ),
        "memory": found["used_memory_peak"],
        "clients": found["connected_clients"],
        "at": time.time(),
    }


def run(effort: Effort) -> Figure:
    from redis import Redis

    plan = Plan(
        workers=effort.pick(1_000, 40),
        every=effort.pick(10, 1),
        lease=effort.pick(30, 1),
        begins=effort.pick(15, 2),
        dies=effort.pick(35, 3),
        ends=effort.pick(80, 6),
    )
    share = plan.workers // _PROCESSES
    effort.say(f"{plan.workers:,} workers, {plan.ends:.0f} seconds")
    with (
        tempfile.TemporaryDirectory() as folder,
        redis(folder) as url,
        ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool,
        Redis.from_url(url) as server,
    ):
        living = [
            pool.submit(live, url, plan, first, share) for first in range(0, plan.workers, share)
        ]
        while server.llen(_READY) < _PROCESSES:
            time.sleep(0.05)
        started = time.time()
        server.rpush(_GO, *[started] * _PROCESSES)
        time.sleep(max(0.0, started + plan.begins - time.time()))
        before = _facts(server)
        time.sleep(max(0.0, started + plan.dies - time.time()))
        after = _facts(server)
        claims = [claim for each in living for claim in each.result()]
        left = sum(server.xlen(key) for key in server.scan_iter("{sentry-segment}:messages:*"))
    seconds = after["at"] - before["at"]
    taken = sum(messages for _, messages in claims)
    expected = plan.workers // 10 * _LEFT
    last = max((at for at, _ in claims), default=float("inf")) - started - plan.dies
    commands = (after["commands"] - before["commands"]) / seconds
    busy = (after["cpu"] - before["cpu"]) / seconds
    table = Table(
        f"A fleet of {plan.workers:,} on one Redis",
        ["", ""],
        [
            ["errors a second, of all", f"{plan.workers / plan.every:,.0f}"],
            ["commands a second", f"{commands:,.0f}"],
            ["Redis's share of a core", f"{busy:.1%}"],
            ["its CPU for a command, microseconds", f"{busy / max(commands, 1) * 1e6:.0f}"],
            ["its memory at the most, MB", f"{after['memory'] / 1e6:.1f}"],
            ["connections", f"{after['clients']:,.0f}"],
            ["messages that a dead tenth left", f"{expected:,}"],
            ["of these taken over", f"{taken:,}"],
            ["seconds until the last was", f"{last:.0f}"],
            ["left in the end", f"{left:,}"],
        ],
        f"Leases of {plan.lease:.0f} seconds. Redis writes to its disk, synced every second. "
        "The workers are in four processes on the same machine.",
    )
    targets = [
        Target(
            "what a dead tenth of a fleet left, and was taken over",
            Spread.of([taken / expected]),
            at_least=1,
        )
    ]
    raw = {"before": before, "after": after, "claims": claims}
    return Figure("fleet", [table], targets, raw=raw)
