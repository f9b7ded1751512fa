"""A failed test is run once more by itself, and nothing else is forgiven."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from support import some

AGAIN = Path(__file__).parent.parent / "helpers" / "again.py"

# Fails in the first of its processes.
FLAKY = """
from pathlib import Path

def passes_from_the_second_time_on(name="once"):
    if not Path(name).exists():
        Path(name).touch()
        raise AssertionError("the first time")
"""
FLAKY_TEST = f"""{FLAKY}
import pytest

@pytest.mark.parametrize("text", ["a::b[/x y]'é"])
def test_flaky(text):
    passes_from_the_second_time_on()

def test_good():
    pass
"""
NAME = r"test_it.py::test_flaky[a::b[/x y]'\xe9]"


class Ended(NamedTuple):
    status: int
    out: str
    flaky: str
    """What stands in the file of flaky tests."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(project: Path, test: str, *arguments: str) -> Ended:
    (project / "test_it.py").write_text(test)
    flaky = project / "flaky"
    flaky.write_text("of a run before\n")
    # No other plugin is needed.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, AGAIN, "-q", "-p", "no:cacheprovider", "-p", "xdist", *arguments],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        env={**environment, "FLAKY": str(flaky)},
    )
    return Ended(done.returncode, done.stdout, flaky.read_text().removeprefix("of a run before\n"))


@some
@pytest.mark.parametrize(
    "arguments", [(), ("test_it.py",), ("-n", "2")], ids=["all", "a file", "in two workers"]
)
def test_what_passes_by_itself_is_named_and_does_not_fail_the_run(
    arguments: tuple[str, ...], project: Path
) -> None:
    ended = run(project, FLAKY_TEST, *arguments)
    named = f"FLAKY: {NAME}, passed when run again\n"
    assert (ended.status, ended.flaky) == (0, named), ended.out
    assert ended.out.endswith(f"\n\n{named}")
    # The first run's own summary stands above, and that of the second, which ran one test.
    first, _, second = ended.out.partition(f"== Once more, by itself: {NAME}")
    assert "1 failed, 1 passed" in first
    assert "1 passed" in second


def test_errors_in_a_fixture_are_failures_too(project: Path) -> None:
    test = f"""{FLAKY}
import pytest

@pytest.fixture
def before():
    passes_from_the_second_time_on("before")

@pytest.fixture
def after():
    yield
    passes_from_the_second_time_on("after")

def test_before(before):
    pass

def test_after(after):
    pass
"""
    ended = run(project, test)
    assert ended.status == 0, ended.out
    assert ended.flaky.count("\n") == 2


def test_what_fails_again_fails_the_run(project: Path) -> None:
    test = f"""{FLAKY_TEST}
def test_bad():
    assert False
"""
    ended = run(project, test)
    assert ended.status == 1
    assert ended.flaky == f"FLAKY: {NAME}, passed when run again\n"
    assert ended.out.endswith("FAILED: test_it.py::test_bad, and again\n")


def test_the_options_hold_for_the_second_time(project: Path) -> None:
    ended = run(project, FLAKY_TEST, "-vv", "-k", "flaky", "test_it.py")
    assert ended.status == 0, ended.out
    first, _, second = ended.out.partition("Once more")
    assert "1 failed, 1 deselected" in first
    assert "PASSED" in second


WORSE = {
    "an error in a test file": (f"{FLAKY_TEST}\n0 / 0", ["-n", "2"], 1),
    "an error in another test file": (FLAKY_TEST, ["--continue-on-collection-errors"], 1),
    "a worker that crashed": (
        f"{FLAKY_TEST}\nimport os\ndef test_crash():\n    if not Path('c').exists():\n"
        "        Path('c').touch()\n        os._exit(0)\n",
        ["-n", "2"],
        1,
    ),
    "a run that was stopped": (f"{FLAKY_TEST}\ndef test_next(): pass", ["-x"], 1),
    "Ctrl-C": (f"{FLAKY_TEST}\ndef test_stop(): raise KeyboardInterrupt", [], 2),
    "no test": (FLAKY_TEST, ["-k", "nothing"], 5),
    "a wrong option": (FLAKY_TEST, ["--no-such-option"], 4),
}


@some
@pytest.mark.parametrize(("test", "arguments", "status"), WORSE.values(), ids=WORSE)
def test_nothing_worse_is_forgiven(
    test: str, arguments: list[str], status: int, project: Path
) -> None:
    if "--continue-on-collection-errors" in arguments:
        (project / "test_other.py").write_text("0 / 0")
    ended = run(project, test, *arguments)
    assert (ended.status, ended.flaky) == (status, ""), ended.out
    assert "Once more" not in ended.out


def test_many_failures_are_not_by_chance(project: Path) -> None:
    test = f"""{FLAKY}
import pytest

@pytest.mark.parametrize("number", range(21))
def test_flaky(number):
    passes_from_the_second_time_on(str(number))
"""
    ended = run(project, test)
    assert (ended.status, ended.flaky) == (1, "")
    assert "Once more" not in ended.out
