"""What the mirror costs a request: a real server under load, with and without it, side by side.

gunicorn with one worker of eight threads, on a core of its own, serves a Flask application. Every
tenth request fails, and is reported to a Sentry and mirrored to a Segment, both on the other core,
where the browsers are too.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.child import ROOT
from benchmarks.collector import HOST, CollectorProcess
from benchmarks.figures import Effort, Figure, Table
from benchmarks.spread import Spread, ratio

MIRRORS = "BENCHMARKS_MIRROR"
WITHOUT, WITH = "without the mirror", "with the mirror"
_BROWSERS = 8
_WAIT = 60.0
_CORES = os.sched_getaffinity(0)

Result = dict[str, float]


@contextmanager
def _gunicorn(port: int, mirrors: bool) -> Iterator[int]:
    """The port of one, until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        options = f"--bind {HOST}:0 --threads {_BROWSERS} --no-control-socket --error-logfile {log}"
        environment = {
            **os.environ,
            MIRRORS: "yes" if mirrors else "no",
            "SENTRY_DSN": f"http://public@{HOST}:{port}/1",
            "SEGMENT_HOST": f"http://{HOST}:{port}",
            "NO_PROXY": HOST,
        }
        command = [sys.executable, "-m", "gunicorn", *options.split(), "benchmarks.server_app:app"]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            os.sched_setaffinity(process.pid, {max(_CORES)})
            yield _port(log)
        finally:
            process.terminate()
            process.wait(_WAIT)


def _port(log: Path) -> int:
    end = time.monotonic() + _WAIT
    while time.monotonic() < end:
        text = log.read_text() if log.exists() else ""
        found = re.search(rf"Listening at: http://{HOST}:(\d+)", text)
        if found:
            return int(found[1])
        time.sleep(0.02)
    raise RuntimeError("gunicorn does not start")


def _browse(port: int, requests: int, took: list[float]) -> None:
    connection = http.client.HTTPConnection(HOST, port, timeout=_WAIT)
    for number in range(requests):
        began = time.perf_counter()
        path = "/order" if number % 10 == 9 else "/basket"
        connection.request("GET", path, headers={"X-User": str(number)})
        response = connection.getresponse()
        response.read()
        took.append(time.perf_counter() - began)
        assert response.status == (500 if path == "/order" else 200)
    connection.close()


def measure(mirrors: bool, requests: int) -> Result:
    """Requests a second, and seconds that the slowest of a hundred takes."""
    with CollectorProcess(None) as collector, _gunicorn(collector.port, mirrors) as port:
        _browse(port, 50, [])
        took: list[list[float]] = [[] for _ in range(_BROWSERS)]
        browsers = [
            threading.Thread(target=_browse, args=(port, requests // _BROWSERS, each))
            for each in took
        ]
        began = time.perf_counter()
        for browser in browsers:
            browser.start()
        for browser in browsers:
            browser.join()
        seconds = time.perf_counter() - began
    all_of_them = sorted(each for of in took for each in of)
    slowest = all_of_them[len(all_of_them) * 99 // 100]
    return {"rate": len(all_of_them) / seconds, "slowest": slowest}


def run(effort: Effort) -> Figure:
    rounds, requests = effort.pick(8, 1), effort.pick(4_000, 160)
    results: dict[str, list[Result]] = {WITHOUT: [], WITH: []}
    shuffled = random.Random(1)
    try:
        # The browsers, and the collector that is started from here.
        os.sched_setaffinity(0, {min(_CORES)})
        for number in range(rounds):
            effort.say(f"round {number + 1} of {rounds}")
            for name in shuffled.sample(list(results), len(results)):
                results[name].append(measure(name == WITH, requests))
    finally:
        os.sched_setaffinity(0, _CORES)
    of = {
        key: {name: [each[key] for each in each_of] for name, each_of in results.items()}
        for key in ("rate", "slowest")
    }
    table = Table(
        "A server under load",
        ["", "requests a second", "99th percentile, milliseconds"],
        [
            [name, Spread.of(of["rate"][name]).text(), Spread.of(of["slowest"][name]).text(1e3)]
            for name in results
        ]
        + [["ratio", *(ratio(of[key][WITH], of[key][WITHOUT]).text() for key in of)]],
        "gunicorn, one worker of eight threads on one core; every tenth request fails with an "
        "error of a known user. Both report it to Sentry.",
    )
    return Figure("server", [table], [], raw=results)
