"""The command line: its arguments, its exit status, and how it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from checking import Check
from collector import Collector, Reply
from faults import (
    fault,
    silent,
)
from sentry_segment import __version__
from sentry_segment.__main__ import main
from support import MEASURED, WRITE_KEY

# The write key


@pytest.mark.parametrize("quoted", [f'"{WRITE_KEY}"', f"'{WRITE_KEY}", f"\u201c{WRITE_KEY}\u201d"])
def test_quotes_around_the_write_key_are_said_without_it(
    quoted: str,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SEGMENT_WRITE_KEY", quoted)
    monkeypatch.setenv("SEGMENT_HOST", collector.url)
    for arguments in (["--write-key", quoted], []):
        with pytest.raises(SystemExit) as ended:
            main(["check", *arguments])
        assert ended.value.code == 2
        shown = " ".join(capsys.readouterr().err.split())
        assert "got one with quotes around it" in shown
        assert WRITE_KEY not in shown
    assert collector.messages == []


@pytest.mark.parametrize(
    "placeholder",
    [
        *("your-write-key", "YOUR_WRITE_KEY", "<write key>", "${SEGMENT_WRITE_KEY}", "any-key"),
        *("{{ segment_key }}", "xxxxxxxxxxxx", "changeme", "test", "..."),
    ],
)
def test_a_placeholder_for_a_write_key_is_said_and_tried(
    placeholder: str, collector: Collector, check: Check
) -> None:
    checked = check(collector.url, "--write-key", placeholder)
    assert "It looks like a placeholder" in checked.text
    assert len(collector.messages) == 1


@pytest.mark.parametrize("key", [WRITE_KEY, "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0hL", "test_k3"])
def test_a_key_that_may_be_one_is_not_doubted(key: str, collector: Collector, check: Check) -> None:
    assert "placeholder" not in check(collector.url, "--write-key", key).text


# The command


class Process:
    """`python -m sentry_segment`, in a process of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if "SSL_CERT" not in name}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sentry_segment", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=Path(__file__).parent.parent.parent,
            env={**kept, **MEASURED, "PYTHONIOENCODING": "utf-8", **environment},
        )

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def test_the_command_delivers(collector: Collector) -> None:
    command = Process("check", "--host", collector.url, SEGMENT_WRITE_KEY=WRITE_KEY)
    status, out, err = command.end()
    assert (status, err) == (0, "")
    assert out.endswith(f"\n{collector.messages[0]['messageId']}\n")


def test_the_command_works_where_the_terminal_is_ascii(collector: Collector) -> None:
    command = Process(
        "check", "--host", collector.url, SEGMENT_WRITE_KEY=WRITE_KEY, PYTHONIOENCODING="ascii"
    )
    status, out, err = command.end()
    assert (status, err) == (0, "")
    assert "?cdef from SEGMENT_WRITE_KEY" in out


def test_an_interrupt_ends_the_command_without_a_traceback(collector: Collector) -> None:
    collector.answer = lambda call: fault(then=silent)
    command = Process("check", "--host", collector.url, SEGMENT_WRITE_KEY=WRITE_KEY)
    assert command.process.stdout is not None
    while not command.process.stdout.readline().startswith("request"):
        assert command.process.poll() is None
    command.process.send_signal(signal.SIGINT)
    status, _, err = command.end()
    assert (status, err) == (130, "interrupted\n")


def test_an_output_that_nobody_reads_on_ends_the_command_without_a_traceback(
    collector: Collector,
) -> None:
    go = threading.Event()
    collector.answer = lambda call: Reply(delay=go)
    command = Process("check", "--host", collector.url, SEGMENT_WRITE_KEY=WRITE_KEY)
    assert command.process.stdout is not None
    while not command.process.stdout.readline().startswith("request"):
        assert command.process.poll() is None
    command.process.stdout.close()
    go.set()
    status, _, err = command.end()
    assert (status, err) == (1, "")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_the_command_works_with_its_output_closed(collector: Collector) -> None:
    command = [sys.executable, "-m", "sentry_segment", "check", "--host", collector.url]
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command],
        env={**os.environ, "SEGMENT_WRITE_KEY": WRITE_KEY},
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert len(collector.messages) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "check tell whether this machine can deliver"),
        ([], "inspector show on a page"),
        ([], "spool tell what waits in a spool"),
        (["--verbose"], "required: command"),
        (["chekc"], "there is no command 'chekc': did you mean 'check'?\n"),
        (["Inspect"], "there is no command 'Inspect': did you mean 'inspector'?\n"),
        (["check", "--host", "api.segment.io"], "host: expected the base URL"),
        (["check", "--timeout", "0"], "timeout: expected a number of seconds greater than 0"),
        (["check", "--timeout", "nan"], "timeout: expected a number of seconds greater than 0"),
        (["check", "--timeout", "soon"], "argument --timeout: invalid float value\n"),
        (["check", "--timeout", WRITE_KEY], "argument --timeout: invalid float value\n"),
        ([WRITE_KEY], "there is no such command: expected one of check, "),
        ([f"'\n{WRITE_KEY}"], "there is no such command: expected one of check, "),
        (["--write-key", WRITE_KEY, "check"], "there is no such command: expected one of check, "),
        (["check", WRITE_KEY], "an argument too many"),
        (["check", f"--key={WRITE_KEY}"], "an argument too many"),
    ],
)
def test_wrong_usage_is_told_apart(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert text in err or text in " ".join(err.split())
    assert not out
    assert WRITE_KEY not in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--version"], f"sentry-segment {__version__}\n"),
        (["--help"], "check tell whether this machine can deliver"),
        (["--help"], "inspector show on a page of this machine what would arrive"),
        (["inspector", "--help"], "port to listen on, 0 for a free one (8010)"),
        (["check", "--help"], "130 interrupted"),
    ],
)
def test_help_is_there(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    assert " ".join(text.split()) in " ".join(capsys.readouterr().out.split())
