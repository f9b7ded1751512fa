"""A spool's file seen from outside, for the tests of the spool."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sentry_sdk.integrations import Integration

from collector import PATIENCE, Collector, Reply
from sentry_segment import Stats
from sentry_segment.spool.sqlite import SqliteSpool
from support import WRITE_KEY

# Older SDKs do not tell an integration the client's options: it begins with the first event.
begins_at_init = hasattr(Integration, "setup_once_with_options")

MAX_BYTES = 100_000_000


def query(path: Path, statement: str, *parameters: Any) -> list[Any]:
    """What a statement gives, on a connection of its own."""
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as db:
        return db.execute(statement, parameters).fetchall()


def kept(path: Path) -> list[dict[str, Any]]:
    """The messages in the file, the oldest first."""
    return [json.loads(body) for (body,) in query(path, "SELECT body FROM messages ORDER BY id")]


def is_sound(path: Path) -> bool:
    return query(path, "PRAGMA integrity_check") == [("ok",)]


def track(user_id: str, size: int = 0) -> dict[str, Any]:
    """A message of about this size."""
    return {"type": "track", "messageId": user_id, "userId": user_id, "padding": "x" * size}


def leave(path: Path, *messages: dict[str, Any], write_key: str = WRITE_KEY) -> None:
    """Leave messages behind, as a process that ended in good order does."""
    spool = SqliteSpool(str(path), MAX_BYTES, write_key)
    added = spool.add([json.dumps(message).encode() for message in messages])
    assert added == len(messages)
    spool.release()
    spool.close()


def let_leases_lapse(path: Path) -> None:
    """As time does."""
    query(path, "UPDATE writers SET expires = 0")


def outage(collector: Collector, status: int = 503) -> None:
    collector.answer = lambda call: Reply(status)


def wait_until(condition: Callable[[], bool]) -> None:
    """For what nothing signals."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def users(collector: Collector) -> list[str]:
    return [message["userId"] for message in collector.messages]


def adds_up(stats: Stats) -> bool:
    dropped_after_put = sum(stats.dropped.values())
    given = stats.mirrored + stats.recovered
    return given == stats.queued + stats.spooled + stats.delivered + dropped_after_put


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Our log lines, but for those on failed requests."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "sentry_segment" and "could not take" not in record.getMessage()
    ]


FILES = Path("/proc/self/fd")


def open_files(path: Path) -> list[str]:
    """Which of the spool's files this process has open, where the system tells."""
    found = []
    for each in FILES.iterdir() if FILES.exists() else ():
        try:
            target = os.readlink(each)
        except OSError:  # that of the listing itself
            continue
        if target.startswith(str(path)):
            found.append(target)
    return found
