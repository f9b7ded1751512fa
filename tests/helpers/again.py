"""Runs pytest, and then each test that failed once more, by itself. What then passes is flaky.

    python -m tests.helpers.again -q -n 3 tests    the arguments are pytest's

A flaky test does not fail the run. It is named in the last lines, and in the file that the
environment variable FLAKY names, to be seen and mended. All else fails as it does with pytest
alone: a test that fails again, an error in a test file, a worker that crashed, a run that was
stopped, no tests at all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

MOST = 20
"""Where more tests fail than that, it is not by chance."""


class Failures:
    """A plugin of pytest's: which tests failed, and whether there was nothing worse."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.is_worse = False
        self.options: list[str] = []
        """Of the run, without the paths of tests."""

    def pytest_configure(self, config: pytest.Config) -> None:
        given = config.invocation_params.args
        self.options = [str(each) for each in given if str(each) not in config.args]
        if hasattr(config.option, "numprocesses"):
            self.options += ["-n", "0"]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.is_worse |= report.failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.tests:
            self.tests.append(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Told by pytest-xdist that a worker has ended, with an error where it crashed."""
        self.is_worse |= bool(error)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.is_worse |= bool(session.shouldfail or session.shouldstop)


def passes(test: str, options: list[str]) -> bool:
    """Run one test in a process of its own."""
    print(f"\n== Once more, by itself: {test}", flush=True)
    command = [sys.executable, "-m", "pytest", *options, test]
    return subprocess.run(command, check=False).returncode == pytest.ExitCode.OK


def main(arguments: list[str]) -> int:
    failures = Failures()
    status = pytest.main(arguments, plugins=[failures])
    if status != pytest.ExitCode.TESTS_FAILED or failures.is_worse:
        return status
    if not 0 < len(failures.tests) <= MOST:
        return status
    flaky = [test for test in failures.tests if passes(test, failures.options)]
    lines = [f"FLAKY: {test}, passed when run again\n" for test in flaky]
    if os.environ.get("FLAKY"):
        with open(os.environ["FLAKY"], "a") as file:
            file.writelines(lines)
    lines += [f"FAILED: {test}, and again\n" for test in failures.tests if test not in flaky]
    print(f"\n{''.join(lines)}", end="", flush=True)
    return pytest.ExitCode.OK if len(flaky) == len(failures.tests) else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
