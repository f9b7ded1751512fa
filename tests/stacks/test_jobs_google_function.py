"""A function under Google's own framework: what it has captured is there before its answer."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from collector import Collector, Reply
from stacks.arrivals import Mirrored, mirrored, texts_of
from stacks.processes import PATIENCE, Process, Stack, stack, wait_until


@pytest.fixture
def machine(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with stack(collector, tmp_path) as running:
        yield running


def function(machine: Stack, **environment: str) -> tuple[Process, str]:
    """Its URL, once it serves."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = f"--source google_function/main.py --target checkout --host 127.0.0.1 --port {port}"
    process = machine.start("-m", "functions_framework", *options.split(), **environment)

    def serves() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    assert wait_until(lambda: serves() or process.popen.poll() is not None)
    assert process.popen.poll() is None, process.output
    return process, f"http://127.0.0.1:{port}/"


def ask(url: str, user: str | None, article: str) -> int:
    headers = {} if user is None else {"X-User": user}
    params = {"article": article}
    answer = httpx.get(url, headers=headers, params=params, timeout=PATIENCE, trust_env=False)
    return answer.status_code


def test_each_error_of_a_known_user_has_arrived_before_the_answer(
    machine: Stack, collector: Collector
) -> None:
    process, url = function(machine, FLUSH_SECONDS=str(PATIENCE))
    for number, user in enumerate(["7", "8", None, "7"]):
        assert ask(url, user, f"unicorn-{number}") == 500
        assert len(collector.events) == number + 1
        assert ask(url, user, "cup") == 200
    assert [(each.user, each.about) for each in mirrored(collector)] == [
        ("7", "'unicorn-0'"),
        ("7", "'unicorn-3'"),
        ("8", "'unicorn-1'"),
    ]
    assert mirrored(collector)[0] == Mirrored("7", "KeyError", "'unicorn-0'", "run")
    assert set(texts_of(collector.events).values()) == {1}
    process.signal(signal.SIGTERM)
    process.end()


def test_a_segment_that_hangs_delays_an_answer_by_the_flush_alone(
    machine: Stack, collector: Collector
) -> None:
    hanging = threading.Event()
    collector.answer = lambda call: Reply(delay=hanging)
    process, url = function(machine, FLUSH_SECONDS="0.2")
    assert ask(url, "7", "unicorn") == 500
    assert collector.wait_for(lambda: len(collector.calls) == 1)
    hanging.set()
    assert ask(url, "8", "unicorn") == 500
    collector.wait_for_messages(2)
    assert {each.user for each in mirrored(collector)} == {"7", "8"}
    process.kill_all()
