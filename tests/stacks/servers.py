"""The examples' web servers, on a port of 127.0.0.1 that the system chooses."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import sys
from pathlib import Path

from sqlite_spools import kept, let_leases_lapse
from stacks.processes import PATIENCE, Process, Stack, wait_until


def gunicorn(stack: Stack, app: str, *options: str, **environment: str) -> tuple[Process, str]:
    """A gunicorn with two workers; its URL, at which connections may wait for them."""
    command = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "--workers", "2")
    process = stack.start(*command, *options, app, **environment)
    return process, url(process)


def uwsgi(stack: Stack, *options: str, **environment: str) -> tuple[Process, str]:
    """A uWSGI with two workers; its URL, once they are there."""
    # Of a port that the system chose, a reload would make another.
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = (str(Path(sys.executable).with_name("pyuwsgi")), "--http-socket", address)
    # By itself it would begin anew with a Python outside of this environment.
    reload = ("--binary-path", sys.executable)
    # Seconds until it gives up reading a request: 4 are too few on a busy machine.
    patience = ("--socket-timeout", str(int(PATIENCE)))
    process = stack.start(*command, *reload, *patience, *options, **environment)
    wait_for_uwsgis_workers(process, 2)
    return process, f"http://{address}"


def wait_for_uwsgis_workers(process: Process, number: int) -> list[str]:
    """Wait until so many have been started since the beginning; their process ids.

    One that is to load the application itself obeys no signal before it has done so.
    """
    pids = wait_for_lines(process, r"spawned uWSGI worker \d \((?:new )?pid: (\d+)", number)
    if "--lazy-apps" in process.command:
        wait_for_lines(process, r"WSGI app 0 .* ready in", number)
    return pids


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
