"""What the tests of the spool have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redis_servers import Redis, redis_running
from spool_kinds import KINDS, Place


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture(params=KINDS)
def place(request: Any) -> Place:
    made: Place = request.param(request)
    return made


@pytest.fixture(scope="session")
def _a_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def shared_redis(_a_redis: Redis) -> Redis:
    """A Redis that the tests of a process share, one after the other. Empty."""
    _a_redis.run("FLUSHALL")
    return _a_redis
