"""Every kind of spool, with the place that its messages are in, and a writer's use of one.

Where another kind is added, it is one more of the `KINDS`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from redis_servers import HOST, Redis
from sentry_segment.spool.contract import Row, Spool
from sentry_segment.spool.redis import RedisSpool
from sentry_segment.spool.sqlite import SqliteSpool
from sqlite_spools import MAX_BYTES
from support import WRITE_KEY


class Place(Protocol):
    """Where spools of one kind are, empty at first."""

    def spool(self, key: str = WRITE_KEY, max_bytes: int = MAX_BYTES) -> Spool:
        """As another process makes one."""

    def let_pass(self, seconds: float) -> None:
        """Have the clock of the leases go on."""

    def exists(self) -> bool:
        """Whether anything is there."""

    def out_of_use(self) -> AbstractContextManager[None]:
        """For a while, no spool can be used."""

    def remove(self) -> None:
        """What is there is gone."""


class Sqlite:
    """A file."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        monkeypatch.setattr("sentry_segment.spool.sqlite_file._BUSY_TIMEOUT", 0.1)
        folder: Path = request.getfixturevalue("tmp_path")
        self._path = folder / "spool.db"
        self._now = 1_000_000.0

    def spool(self, key: str = WRITE_KEY, max_bytes: int = MAX_BYTES) -> Spool:
        return SqliteSpool(str(self._path), max_bytes, key, now=lambda: self._now)

    def let_pass(self, seconds: float) -> None:
        self._now += seconds

    def exists(self) -> bool:
        return any(self._path.parent.iterdir())

    @contextmanager
    def out_of_use(self) -> Iterator[None]:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            yield
            db.execute("ROLLBACK")

    def remove(self) -> None:
        for each in self._path.parent.iterdir():
            each.unlink()


class InRedis:
    """A database of a Redis that the tests of a process share."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._redis: Redis = request.getfixturevalue("shared_redis")
        self._now = 1_000_000.0

    def spool(self, key: str = WRITE_KEY, max_bytes: int = MAX_BYTES) -> Spool:
        url = self._redis.url
        return RedisSpool(url, max_bytes, key, lambda *_: None, now=lambda: self._now)

    def let_pass(self, seconds: float) -> None:
        self._now += seconds

    def exists(self) -> bool:
        return bool(self._redis.run("DBSIZE"))

    @contextmanager
    def out_of_use(self) -> Iterator[None]:
        """As after a failover."""
        self._redis.run("REPLICAOF", HOST, 1)
        yield
        self._redis.run("REPLICAOF", "NO", "ONE")

    def remove(self) -> None:
        self._redis.run("FLUSHALL")


KINDS: list[Callable[[pytest.FixtureRequest], Place]] = [Sqlite, InRedis]


def begin(spool: Spool, *bodies: bytes) -> int:
    """Add messages; returns the writer."""
    assert spool.add(bodies) == len(bodies)
    assert spool.writer is not None
    return spool.writer


def read(spool: Spool, *writers: int, without: list[Row] | None = None) -> list[Row]:
    return spool.read(writers, without=[row.id for row in without or []])


def bodies(spool: Spool, *writers: int) -> list[bytes]:
    return [row.body for row in read(spool, *writers)]


def delete(spool: Spool, rows: list[Row]) -> None:
    spool.delete([row.id for row in rows])


NOTHING: Any = ({}, set())  # claimed, and lost


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What calls give, each in a thread of its own."""
    start = threading.Barrier(len(calls))
    given: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        start.wait()
        given[number] = calls[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return given
