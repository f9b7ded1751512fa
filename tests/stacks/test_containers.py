"""The files of the page on containers: each by its own tool, and their commands as processes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from collector import Collector, Reply
from redis_servers import Redis, redis_running
from redis_spools import let_leases_lapse
from stacks.processes import EXAMPLES, PATIENCE, Process, Stack, stack, wait_until
from stacks.servers import url

FOLDER = EXAMPLES / "containers"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(
    yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
)


@pytest.mark.parametrize(
    "command",
    [
        ("hadolint", "Dockerfile"),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"),
        ("kubernetes-validate", "--strict", "-k", "1.32", "kubernetes.yaml"),
    ],
    ids=["Dockerfile", "compose.yaml", "kubernetes.yaml"],
)
def test_each_file_is_one_by_its_own_tool(command: tuple[str, ...]) -> None:
    program = Path(sys.executable).with_name(command[0])
    ended = subprocess.run(
        [program, *command[1:]], cwd=FOLDER, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Redis]:
    """As compose.yaml starts it."""
    program, *options = COMPOSE["services"]["redis"]["command"]
    assert program == "redis-server"
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_running(folder, *options) as server:
        yield server


@pytest.fixture
def machine(collector: Collector, tmp_path: Path, database: Redis) -> Iterator[Stack]:
    with stack(collector, tmp_path, SEGMENT_SPOOL=database.url) as running:
        yield running


def python(command: list[str]) -> list[str]:
    """The arguments for Python, of a command of an image's."""
    return command[1:] if command[0] == "python" else ["-m", *command]


def shop(machine: Stack, **environment: str) -> tuple[Process, str]:
    """The image's command; its URL."""
    [line] = re.findall(r"^CMD (\[.*\])$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    given = [
        "--bind=127.0.0.1:0" if each.startswith("--bind=") else each for each in json.loads(line)
    ]
    process = machine.start(*python(given), **environment)
    return process, url(process)


def break_it(address: str) -> None:
    with httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as browser:
        login = browser.post("/login", data={"username": "7", "password": "seven"})
        assert login.is_success
        assert browser.get("/recommend/unicorn").status_code in (200, 500)


def waiting(database: Redis) -> int:
    """How many messages are in the spool."""
    keys = database.run("KEYS", "{sentry-segment}:messages:*")
    return sum(int(database.run("XLEN", key)) for key in keys)


def drain_job() -> list[str]:
    """Its arguments for Python."""
    [job] = [each for each in KUBERNETES if each["kind"] == "CronJob"]
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return python(container["command"])


def test_the_images_command_delivers_what_it_has_captured_when_it_is_told_to_end(
    machine: Stack, collector: Collector, database: Redis
) -> None:
    process, address = shop(machine)
    break_it(address)
    process.signal(signal.SIGTERM)
    assert process.end() == 0, process.output
    assert [message["userId"] for message in collector.messages] == ["7"]
    assert waiting(database) == 0


def test_the_drain_job_sends_what_a_killed_shop_has_left(
    machine: Stack, collector: Collector, database: Redis
) -> None:
    collector.answer = lambda call: Reply(429, {"Retry-After": "300"})
    process, address = shop(machine)
    break_it(address)
    assert wait_until(lambda: waiting(database) == 1)
    assert collector.wait_for(lambda: [call.status for call in collector.calls] == [429])
    process.kill_all()
    collector.answer = None
    let_leases_lapse(database)
    drained = machine.run(*drain_job())
    assert "1 message(s) delivered\nnothing is left" in drained.output
    assert [message["userId"] for message in collector.messages] == ["7"]
    assert waiting(database) == 0


def test_the_drain_job_sends_from_a_file_what_a_shop_that_ended_could_not(
    machine: Stack, collector: Collector, tmp_path: Path
) -> None:
    place = str(tmp_path / "segment.db")
    collector.answer = lambda call: Reply(429, {"Retry-After": "300"})
    process, address = shop(machine, SEGMENT_SPOOL=place)
    break_it(address)
    assert collector.wait_for(lambda: [call.status for call in collector.calls] == [429])
    process.signal(signal.SIGTERM)
    assert process.end() == 0, process.output
    collector.answer = None
    drained = machine.run(*drain_job(), SEGMENT_SPOOL=place)
    assert "1 message(s) delivered\nnothing is left" in drained.output
    assert [message["userId"] for message in collector.messages] == ["7"]


def test_in_compose_the_inspector_shows_the_shops_errors_on_both_sides(machine: Stack) -> None:
    services = COMPOSE["services"]
    given = services["inspector"]["command"]
    port = given.index("--port")
    command = [*given[:port], "--port", "0", *given[port + 2 :]]
    command[command.index("0.0.0.0")] = "127.0.0.1"
    inspector = machine.start(*python(command))
    found = re.compile(r"http://127\.0\.0\.1:(\d+)")
    assert wait_until(lambda: found.search(inspector.output) is not None), inspector.output
    address = found.search(inspector.output)
    assert address is not None
    environment = {
        name: value.replace("inspector:8010", f"127.0.0.1:{address[1]}")
        for name, value in services["shop"]["environment"].items()
        if name != "SEGMENT_SPOOL"
    }
    process, shops = shop(machine, **environment)
    break_it(shops)
    process.signal(signal.SIGTERM)
    assert process.end() == 0, process.output

    def sides() -> set[str]:
        with suppress(httpx.TransportError):
            answer = httpx.get(f"{address[0]}/inspector/records", headers={"Host": "inspector"})
            return {each["side"] for each in answer.json()["records"] if "unicorn" in str(each)}
        return set()

    assert wait_until(lambda: "sentry" in sides()), inspector.output
    segments = httpx.get(f"{address[0]}/inspector/records").json()["records"]
    assert "segment" in {each["side"] for each in segments}


def test_a_pod_has_the_time_that_its_parts_may_take() -> None:
    [deployment] = [each for each in KUBERNETES if each["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    before = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    [graceful] = re.findall(r"--graceful-timeout=(\d+)", (FOLDER / "Dockerfile").read_text())
    shutdown_timeout = 2
    assert before + int(graceful) + shutdown_timeout < pod["terminationGracePeriodSeconds"]
    period = COMPOSE["services"]["shop"]["stop_grace_period"]
    assert int(graceful) + shutdown_timeout < int(period.removesuffix("s"))
