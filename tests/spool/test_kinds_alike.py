"""Spools of all kinds are used in the same ways at random, and do the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from redis_servers import Redis
from sentry_segment.spool.contract import Spool
from spool_kinds import InRedis, Place, Sqlite
from support import many

KINDS_OF_STEPS = (
    "add",
    "add",
    "read",
    "delete",
    "tend",
    "tend",
    "release",
    "wait",
    "another",
    "look",
)


class Holder:
    """One of a kind, which speaks of writers by their place in the order of their beginnings."""

    def __init__(self, spool: Spool, begun: list[int]) -> None:
        self._spool = spool
        self._begun = begun
        self.held: set[int] = set()

    def _names(self, writers: Any) -> set[int]:
        return {self._begun.index(writer) for writer in writers}

    def add(self, bodies: list[bytes]) -> Any:
        added = self._spool.add(bodies)
        assert self._spool.writer is not None
        if self._spool.writer not in self._begun:
            self._begun.append(self._spool.writer)
        self.held |= self._names([self._spool.writer])
        return added, self._names([self._spool.writer])

    def read(self, writers: set[int], deleted: float, choice: random.Random) -> Any:
        """Read, and delete some of what was read."""
        rows = self._spool.read([self._begun[writer] for writer in writers], without=())
        found = sorted((self._begun.index(row.writer), row.body, row.id) for row in rows)
        chosen = [number for _, _, number in found if choice.random() < deleted]
        if chosen:
            self._spool.delete(chosen)
        return [(writer, body) for writer, body, _ in found], len(chosen)

    def tend(self) -> Any:
        found, gone = self._spool.tend([self._begun[writer] for writer in sorted(self.held)])
        claimed = {self._begun.index(writer): messages for writer, messages in found.items()}
        lost = self._names(gone)
        self.held = self.held - lost | claimed.keys()
        if self._spool.writer in gone:
            self._spool.writer = None
        return claimed, lost

    def release(self) -> None:
        self._spool.release()
        self.held.clear()

    def survey(self) -> Any:
        found = [
            (self._begun.index(each.writer), *each[1:5], round(each.lease, 6), each.is_own)
            for each in self._spool.survey() or ()
        ]
        return sorted(found), self._spool.has_messages()

    def begin_another(self) -> None:
        self._spool.writer = None

    def disconnect(self) -> None:
        self._spool.disconnect()


def steps(place: Place, seed: int) -> Iterator[Any]:
    """What comes of each of a hundred steps of three holders."""
    choice = random.Random(seed)
    begun: list[int] = []
    holders = [Holder(place.spool(), begun) for _ in range(3)]
    for number in range(100):
        holder = choice.choice(holders)
        kind = choice.choice(
            [
                "add",
                "add",
                "read",
                "delete",
                "tend",
                "tend",
                "release",
                "wait",
                "wait",
                "another",
                "look",
            ]
        )
        if kind == "add":
            yield holder.add([b"%d-%d" % (number, n) for n in range(choice.choice((1, 1, 3)))])
        elif kind in ("read", "delete"):
            some = {writer for writer in range(len(begun)) if choice.random() < 0.5}
            yield holder.read(some, 0.5 if kind == "delete" else 0.0, choice)
        elif kind == "tend":
            yield holder.tend()
        elif kind == "release":
            holder.release()
        elif kind == "wait":
            # Back as well: the clock begins anew.
            place.let_pass(choice.choice((1.0, 10.0, 29.5, 31.0, 100.0, -500.0)))
        elif kind == "another":
            choice.choice((holder.begin_another, holder.disconnect))()
        else:
            yield holder.survey()


@pytest.mark.parametrize("seed", range(many(100)))
def test_what_one_kind_does_the_other_does(
    seed: int, request: pytest.FixtureRequest, shared_redis: Redis
) -> None:
    in_file, in_redis = (list(steps(kind(request), seed)) for kind in (Sqlite, InRedis))
    assert in_file == in_redis
    counted = int(shared_redis.run("HGET", "{sentry-segment}:meta", "bytes") or 0)
    survey = InRedis(request).spool().survey() or []
    assert counted == sum(each.size + 128 * each.messages for each in survey)
