"""Where the spool of a trial is: a file, or a Redis that is killed and started again."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from redis_servers import KEEPING, Redis
from sentry_segment.spool.contract import SpoolError
from sentry_segment.spool.redis import RedisSpool
from sentry_segment.spool.sqlite import SqliteSpool


class TrialPlace(Protocol):
    """The place of a spool, seen from outside."""

    spool: str
    """As the integration's option."""
    kills: int
    """How often the place itself was killed."""

    @contextmanager
    def unruly(self, choice: random.Random) -> Iterator[None]:
        """Be it, until the end of the block."""

    def messages(self) -> int:
        """How many are there."""

    def integrity(self) -> str:
        """`ok`, or what is wrong with it once it is empty."""

    def stop(self) -> None:
        """Be no more."""


class AFile:
    def __init__(self, folder: str, write_key: str) -> None:
        self.spool = str(Path(folder, "spool.db"))
        self.kills = 0

    @contextmanager
    def unruly(self, choice: random.Random) -> Iterator[None]:
        yield

    def messages(self) -> int:
        with closing(sqlite3.connect(self.spool, timeout=10.0)) as db:
            count: int = db.execute("SELECT COUNT(*) FROM messages").fetchone()[0]
            return count

    def integrity(self) -> str:
        with closing(sqlite3.connect(self.spool)) as db:
            return str(db.execute("PRAGMA integrity_check").fetchone()[0])

    def stop(self) -> None:
        pass


class ARedis:
    """It keeps each write on the disk before it answers, and is killed every few seconds."""

    def __init__(self, folder: str, write_key: str) -> None:
        data = Path(folder, "redis")
        data.mkdir()
        self._redis = Redis(data, *KEEPING)
        self._redis.start()
        self._write_key = write_key
        self.spool = self._redis.url
        self.kills = 0
        self._over = threading.Event()

    @contextmanager
    def unruly(self, choice: random.Random) -> Iterator[None]:
        killing = threading.Thread(target=self._kill, args=(random.Random(choice.random()),))
        killing.start()
        try:
            yield
        finally:
            self._over.set()
            killing.join()

    def _kill(self, choice: random.Random) -> None:
        while not self._over.wait(choice.uniform(1.0, 4.0)):
            self._redis.kill()
            self.kills += 1
            self._over.wait(choice.choice((0.0, 0.0, 2.0)))
            self._redis.start()

    def messages(self) -> int:
        with suppress(SpoolError):
            return sum(each.messages for each in self._seen().survey() or [])
        return -1

    def integrity(self) -> str:
        counted = int(self._redis.run("HGET", "{sentry-segment}:meta", "bytes") or 0)
        return "ok" if counted == 0 else f"{counted} bytes too many"

    def stop(self) -> None:
        self._redis.kill()

    def _seen(self) -> RedisSpool:
        return RedisSpool(self.spool, 1_000_000, self._write_key, lambda *_: None)


SPOOLS: tuple[type[SqliteSpool | RedisSpool], ...] = (SqliteSpool, RedisSpool)
