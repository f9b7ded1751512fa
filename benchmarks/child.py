"""Measurements in processes of their own: no other one's imports, threads or garbage."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.collector import HOST, Collector, CollectorProcess

ROOT = Path(__file__).parent.parent


_running: set[subprocess.Popen[str]] = set()


def end_all() -> None:
    """End what other threads have started, and make them fail."""
    for process in list(_running):
        process.kill()


class Child:
    """A process that calls one function of this package, with a collector of its own.

    The function is given the collector, a folder that is removed afterwards, and `arguments`;
    what it returns must have a JSON form.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        certificate: str | None = None,
        environment: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> None:
        self._function = f"{function.__module__}:{function.__qualname__}"
        self._certificate = certificate
        self._environment = environment or {}
        self._arguments = arguments

    def result(self, timeout: float = 300.0) -> Any:
        """Run it to its end. An error there is one here, with what it wrote."""
        with (
            tempfile.TemporaryDirectory() as folder,
            CollectorProcess(self._certificate) as collector,
            self.started(collector, folder) as process,
        ):
            out, _ = process.communicate(timeout=timeout)
        if process.returncode != 0:
            raise RuntimeError(f"{self._function} failed with {self._arguments}")
        return json.loads(out.splitlines()[-1])

    @contextmanager
    def started(self, collector: Collector, folder: str) -> Iterator[subprocess.Popen[str]]:
        given = {"collector": vars(collector), "folder": folder, **self._arguments}
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", self._function, json.dumps(given)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "NO_PROXY": HOST, "no_proxy": HOST, **self._environment},
        )
        _running.add(process)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()
            _running.discard(process)


def status(field: str) -> int:
    """A figure of this process's memory in bytes: `VmRSS`, or `VmHWM`, the most it ever was.

    Not `ru_maxrss`, which a process inherits from the one that started it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"this system does not tell a process's {field}")


def forget_peak() -> None:
    """Have `VmHWM` begin anew with what is in use now."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    module, _, function = sys.argv[1].partition(":")
    arguments = json.loads(sys.argv[2])
    arguments["collector"] = Collector(**arguments["collector"])
    result = getattr(importlib.import_module(module), function)(**arguments)
    if result is None:
        return  # how the process ends is what is measured
    print(json.dumps(result), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
