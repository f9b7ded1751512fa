"""Measures, prints, and keeps what was measured: `scripts/bench [NAME ...] [--quick] [--docs]`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks import (
    calling_thread,
    fleet,
    imports,
    latency,
    leaving,
    redis_spool,
    report,
    scaling,
    scrubbing,
    server,
    stall,
    throughput,
    tunnel,
    waiting,
)
from benchmarks.child import ROOT, end_all
from benchmarks.figures import Effort, Figure

MEASUREMENTS = {
    "calling_thread": calling_thread.run,
    "throughput": throughput.run,
    "waiting": waiting.run,
    "latency": latency.run,
    "stall": stall.run,
    "exit": leaving.run,
    "imports": imports.run,
    "scaling": scaling.run,
    "scrubbing": scrubbing.run,
    "tunnel": tunnel.run,
    "server": server.run,
}
if redis_spool.PROGRAM is not None:
    MEASUREMENTS |= {"redis": redis_spool.run, "fleet": fleet.run}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(MEASUREMENTS)}; or spool_window, alone",
    )
    parser.add_argument("--quick", action="store_true", help="only show that all can be measured")
    parser.add_argument("--docs", action="store_true", help="write the page of the docs")
    parser.add_argument("--json", type=Path, default=ROOT / ".venv" / "bench.json")
    given = parser.parse_args()
    unknown = set(given.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    if given.docs and (given.quick or given.names):
        parser.error("--docs takes all measurements, and in full")

    # So that a terminated run ends its processes, as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began, names = time.monotonic(), given.names or list(MEASUREMENTS)
    figures = _quickly(names) if given.quick else _fully(names)
    path = ROOT / "docs" / "benchmarks.json" if given.docs else given.json
    path.parent.mkdir(exist_ok=True)
    report.write_json(path, figures)
    if given.docs:
        from benchmarks import plots

        drawn = plots.draw(ROOT / "docs", figures)
        report.write_page(ROOT / "docs" / "benchmarks.md", figures, drawn)
    print(f"\n{time.monotonic() - began:.0f} seconds; {os.path.relpath(path)}")


def _fully(names: Sequence[str]) -> list[Figure]:
    """One after the other, each printed as soon as it is there."""
    figures = []
    for name in names:
        figure = MEASUREMENTS[name](Effort(False, partial(_say, name)))
        figures.append(figure)
        for table in figure.tables:
            print(report.plain(table), flush=True)
    targets = [target for figure in figures for target in figure.targets]
    if targets:
        print(report.plain(report.targets_table(targets)))
    return figures


def _quickly(names: Sequence[str]) -> list[Figure]:
    """Side by side: that they disturb each other does not matter here."""
    with ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(MEASUREMENTS[n], Effort(True, partial(_say, n))) for n in names]
        try:
            return [each.result() for each in taken]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise


def _say(name: str, what: str) -> None:
    print(f"{name}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        end_all()
        sys.exit(130)
