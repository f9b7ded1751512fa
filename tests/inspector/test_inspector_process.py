"""`python -m sentry_segment inspector`, as a process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from inspectors import Poster, message
from support import MEASURED, some

COMMAND = ("-m", "sentry_segment", "inspector")
BY_ITS_OWN_NAME = ("-m", "sentry_segment.inspector")


@contextmanager
def running(
    *arguments: str, command: tuple[str, ...] = COMMAND
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the URL that it says."""
    process = subprocess.Popen(
        [sys.executable, *command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **MEASURED},
    )
    try:
        assert process.stdout is not None
        match = re.fullmatch(r"Inspector: (http://\S+)\n", process.stdout.readline())
        assert match, process.communicate()[1]
        yield process, match[1]
    finally:
        process.kill()
        process.communicate()


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **MEASURED}
    command = [sys.executable, *BY_ITS_OWN_NAME, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.parametrize("command", [COMMAND, BY_ITS_OWN_NAME], ids=str)
def test_it_serves_and_says_how_to_point_an_application_at_it(command: tuple[str, ...]) -> None:
    with running("--port", "0", command=command) as (process, url), Poster(url) as app:
        assert url.startswith("http://127.0.0.1:")
        assert app.segment(message()).is_success
        assert len(app.http.get("/inspector/records").json()["records"]) == 1
        assert process.stdout is not None
        said = "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
    assert f'dsn="http://public@{url.removeprefix("http://")}/1"' in said
    assert f'host="{url}"' in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_while_a_page_is_connected(number: signal.Signals) -> None:
    with (
        running("--port", "0") as (process, url),
        httpx.stream("GET", f"{url}/inspector/stream", trust_env=False) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")


def begin(url: str, request: bytes) -> socket.socket:
    """A connection on which a request was begun, and an answer to it as well."""
    connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    connection.sendall(request)
    assert connection.recv(1)
    return connection


HALF = (
    b"POST /v1/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    b"Expect: 100-continue\r\n\r\n"
)
UNREAD = b"GET /inspector/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_who_goes_away_in_the_midst_of_a_request_leaves_no_traceback() -> None:
    with running("--port", "0") as (process, url), Poster(url) as app:
        begin(url, HALF).close()
        assert app.segment(message()).is_success
        process.terminate()
        assert process.communicate(timeout=60)[1] == ""


def test_who_is_slow_is_cut_off_at_the_end_without_a_traceback() -> None:
    with running("--port", "0") as (process, url), Poster(url) as app:
        for _ in range(5):
            app.segment(message(properties={"large": "x" * 2_000_000}))
        with begin(url, HALF), begin(url, UNREAD):
            process.terminate()
            _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")


def test_a_port_that_is_taken_is_said_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = ended("--port", port)
    assert done.returncode == 1
    assert done.stderr == (
        f"Port {port} of 127.0.0.1 is taken. Choose another with --port; 0 is any free one.\n"
    )


@some
@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (["--port", "70000"], 2, "70000 is no port"),
        (["--port", "web"], 2, "invalid port value: 'web'"),
        (["--allow-host", "http://web:80"], 2, "expected a name without a port, got 'http://web"),
        (["--allow-origin", "shop.example"], 2, "expected an origin such as https://shop.example"),
        (["--host", "192.0.2.1", "--port", "0"], 1, "Can't listen on port 0 of 192.0.2.1"),
        (["--host", "nowhere.invalid"], 1, "Can't listen on port 8010 of nowhere.invalid"),
    ],
    ids=str,
)
def test_what_cant_be_is_said(arguments: list[str], status: int, why: str) -> None:
    done = ended(*arguments)
    assert done.returncode == status
    assert why in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra_it_says_how_to_install_it(missing: str) -> None:
    code = (
        f"import runpy, sys; sys.modules[{missing!r}] = None; "
        "runpy.run_module('sentry_segment.inspector', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == (
        f"The inspector needs {missing}: pip install 'sentry-segment[inspector]'\n"
    )


def test_a_module_of_ours_that_is_missing_is_another_matter() -> None:
    code = (
        "import runpy, sys; sys.modules['sentry_segment.inspector.app'] = None; "
        "runpy.run_module('sentry_segment.inspector', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "ModuleNotFoundError: import of sentry_segment.inspector.app halted" in done.stderr


def test_who_lets_others_reach_it_is_warned() -> None:
    with running("--host", "0.0.0.0", "--port", "0") as (process, _):
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert "Whoever reaches this address can read what arrives" in err


def test_it_listens_on_ipv6_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with running("--host", "::1", "--port", "0") as (_, url), Poster(url) as app:
        assert url.startswith("http://[::1]:")
        assert app.http.get("/").is_success


def test_names_and_origins_are_allowed_by_arguments() -> None:
    allowed = ("--allow-host", "web", "--allow-host", "host.docker.internal")
    with (
        running("--port", "0", *allowed, "--allow-origin", "https://shop.example:3000") as (_, url),
        Poster(url) as app,
    ):
        headers = {"Host": "host.docker.internal:8010", "Origin": "https://shop.example:3000"}
        assert app.segment(message(), headers=headers).is_success
        assert app.segment(message(), headers={**headers, "Host": "web"}).is_success


def test_it_can_be_started_again_at_once_on_its_port() -> None:
    with running("--port", "0") as (process, url), Poster(url) as app:
        app.http.get("/")
        process.terminate()
        process.wait(timeout=60)
        with running("--port", url.rpartition(":")[2]) as (_, again):
            assert again == url
