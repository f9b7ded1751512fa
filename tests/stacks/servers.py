"""The examples' web servers, on a port of 127.0.0.1 that the system chooses."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from pathlib import Path

from spools import kept, let_leases_lapse
from stacks.processes import Process, Stack, wait_until


def gunicorn(stack: Stack, app: str, *options: str, **environment: str) -> tuple[Process, str]:
    """A gunicorn with two workers; its URL, at which connections may wait for them."""
    command = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "--workers", "2")
    process = stack.start(*command, *options, app, **environment)
    return process, url(process)


def url(process: Process) -> str:
    """The one in its log."""
    line = re.compile(r"(?:Listening at:|running on) (http://127\.0\.0\.1:[1-9]\d*)")
    found = wait_until(lambda: line.search(process.output) or process.popen.poll() is not None)
    assert isinstance(found, re.Match), process.output
    return str(found[1])


def wait_for_lines(process: Process, pattern: str, number: int) -> list[str]:
    """Wait until so many lines of its log have the pattern; what it found in them."""
    found = wait_until(
        lambda: len(lines := re.findall(pattern, process.output)) >= number and lines
    )
    assert found, process.output
    return list(found)


def kill_workers(server: Process, pids: list[str], spool: Path, messages: int) -> None:
    """End them as `kill -9` does, once so many messages are in the spool, and let time pass."""
    assert wait_until(lambda: _count(spool) == messages), server.output
    server.signal(signal.SIGSTOP)  # or the next ones might hold the leases already
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)
    let_leases_lapse(spool)
    server.signal(signal.SIGCONT)


def _count(spool: Path) -> int:
    try:
        return len(kept(spool))
    except sqlite3.OperationalError:  # it is being begun
        return 0
