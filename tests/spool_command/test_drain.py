"""The command `spool`: what a drain sends, and what it leaves."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import pytest

from collector import PATIENCE, Collector, Reply
from sentry_segment.guest.clock import monotonic
from sentry_segment.spool.contract import LEASE
from sentry_segment.spool.sqlite import SqliteSpool
from spool_commands import OTHER, Command, Ended, message
from sqlite_spools import MAX_BYTES, kept, leave, open_files, query, users
from support import MEASURED, WRITE_KEY


def test_a_drain_sends_all_in_order_and_leaves_nothing(
    command: Command, path: Path, collector: Collector
) -> None:
    sent = [f"u{number}" for number in range(2_000)]
    leave(path, *map(message, sent[:1_000]))
    leave(path, *map(message, sent[1_000:]))
    ended = command("drain", "--host", collector.url)
    assert ended == Ended(0, "2,000 message(s) delivered\nnothing is left\n", "")
    assert users(collector) == sent
    assert {call.write_key for call in collector.calls} == {WRITE_KEY}
    assert kept(path) == []
    assert open_files(path) == []


def test_a_drain_of_an_empty_spool_is_done_at_once(
    command: Command, path: Path, collector: Collector
) -> None:
    leave(path, message("u1"))
    assert command("drain", "--host", collector.url).status == 0
    ended = command("drain", "--host", collector.url)
    assert ended == Ended(0, "0 message(s) delivered\nnothing is left\n", "")


def test_a_drain_leaves_what_is_for_other_write_keys_and_says_so(
    command: Command, path: Path, collector: Collector
) -> None:
    leave(path, message("theirs"), write_key=OTHER)
    leave(path, message("ours"))
    ended = command("drain", "--host", collector.url)
    assert ended.status == 0
    assert ended.err == "1 message(s) for other write keys were left alone\n"
    assert users(collector) == ["ours"]
    assert [each["userId"] for each in kept(path)] == ["theirs"]


def test_a_drain_leaves_what_a_running_process_holds_and_says_so(
    command: Command, path: Path, collector: Collector
) -> None:
    leave(path, message("left"))
    running, ended = SqliteSpool(str(path), MAX_BYTES, WRITE_KEY), threading.Event()
    running.add([json.dumps(message("held")).encode()])
    assert running.writer is not None

    def renew() -> None:
        while not ended.wait(0.1):
            running.tend([running.writer or 0])

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        drained = command("drain", "--host", collector.url)
    finally:
        ended.set()
        thread.join()
        running.disconnect()
    assert drained.status == 1
    assert drained.out == (
        "1 message(s) delivered\n"
        "1 left in the spool: processes that run hold it, and send it themselves\n"
    )
    assert users(collector) == ["left"]


def test_a_drain_waits_for_what_a_killed_process_held(
    command: Command, path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.2)
    leave(path, message("u1"))
    lapses = monotonic() + 2.0
    query(path, "UPDATE writers SET expires = ?, holder = 'killed'", lapses)
    ended = command("drain", "--host", collector.url)
    assert ended.status == 0
    assert users(collector) == ["u1"]
    assert collector.calls[0].arrived >= lapses
    assert lapses + LEASE > monotonic()  # and not for a new one


def test_a_drain_that_takes_too_long_leaves_the_rest(
    command: Command,
    path: Path,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By a clock that goes on once a request has failed."""

    def now() -> float:
        return monotonic() + (1_000.0 if caplog.records else 0.0)

    monkeypatch.setattr("sentry_segment.spool_command.drain.monotonic", now)
    leave(path, message("u1"), message("u2"))
    collector.answer = lambda call: Reply(503)
    ended = command("drain", "--host", collector.url, "--timeout", "500")
    assert ended.status == 1
    assert ended.out.startswith("0 message(s) delivered\n2 left in the spool: HTTP 503")
    assert "could not take 2 message(s)" in ended.err
    assert released(path)


def test_what_segment_refuses_for_good_is_a_failure(
    command: Command, path: Path, collector: Collector
) -> None:
    leave(path, message("u1"))
    collector.answer = lambda call: Reply(401)
    ended = command("drain", "--host", collector.url)
    assert ended.status == 1
    assert ended.out.startswith("0 message(s) delivered\n1 given up: HTTP 401")
    assert kept(path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_the_rest_in_order(
    command: Command, path: Path, collector: Collector, number: int
) -> None:
    leave(path, *(message(f"u{user}", padding="x" * 30_000) for user in range(40)))
    requests = count(1)

    def answer(call: object) -> Reply:
        request = next(requests)
        if request == 2:  # and then no more: it would be this process's own
            os.kill(os.getpid(), number)
        return Reply(200 if request == 1 else 503)

    collector.answer = answer
    ended = command("drain", "--host", collector.url)
    assert ended.status == 128 + number
    delivered = len(collector.calls[0].messages)
    assert ended.out.startswith(
        f"{delivered} message(s) delivered\n{40 - delivered} left in the spool"
    )
    assert [each["userId"] for each in kept(path)] == [f"u{user}" for user in range(delivered, 40)]
    assert released(path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def released(path: Path) -> bool:
    return query(path, "SELECT COUNT(*) FROM writers WHERE holder IS NOT NULL") == [(0,)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_bar_shows_how_far_it_is(
    command: Command, path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(path, *(message(f"u{user}", padding="x" * 30_000) for user in range(40)))
    answers = [Reply(), Reply(503)]
    collector.answer = lambda call: answers.pop(0) if answers else Reply()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert command("drain", "--host", collector.url).status == 0
    drawn = terminal.getvalue().split("\r\x1b[K")
    assert f"[{'.' * 30}] 0 of 40" in drawn[1]
    assert [line for line in drawn if line.startswith("Segment (") and line.endswith("\n")]
    assert drawn[-1] == ""  # and so it is gone


def test_the_command_is_ended_by_sigterm(path: Path, collector: Collector) -> None:
    leave(path, message("u1"))
    asked = threading.Event()

    def answer(call: object) -> Reply:
        asked.set()
        return Reply(503)

    collector.answer = answer
    process = subprocess.Popen(
        [sys.executable, "-m", "sentry_segment", "spool", path, "drain", "--host", collector.url],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **MEASURED, "SEGMENT_WRITE_KEY": WRITE_KEY},
    )
    assert asked.wait(PATIENCE)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert "1 left in the spool" in out
    assert released(path)
