"""What an import adds to a process that has `sentry_sdk`: time, and memory."""

from __future__ import annotations

import importlib
import random
import sys
import time

from benchmarks.child import Child, status
from benchmarks.collector import Collector
from benchmarks.figures import Effort, Figure, Table
from benchmarks.spread import Spread

_AFTER_HTTPX = "sentry_segment, after httpx"
_IMPORTS = {
    "sentry_segment": ("sentry_segment", []),
    _AFTER_HTTPX: ("sentry_segment", ["httpx"]),
    "httpx": ("httpx", []),
    "segment.analytics": ("segment.analytics", []),
    "rudderstack.analytics": ("rudderstack.analytics", []),
    "posthog": ("posthog", []),
}


def measure(collector: Collector, folder: str, module: str, before: list[str]) -> list[float]:
    for name in ("sentry_sdk", *before):
        importlib.import_module(name)
    memory, began = status("VmRSS"), time.perf_counter()
    importlib.import_module(module)
    return [time.perf_counter() - began, status("VmRSS") - memory]


def initialised(collector: Collector, folder: str) -> bool:
    """Whether `sentry_sdk.init` alone imports httpx, where that is installed."""
    import sentry_sdk

    sentry_sdk.init("http://public@127.0.0.1:9/1")
    return "httpx" in sys.modules


def run(effort: Effort) -> Figure:
    rounds, shuffled = effort.pick(10, 1), random.Random(1)
    taken: dict[str, list[list[float]]] = {name: [] for name in _IMPORTS}
    for number in range(rounds):
        effort.say(f"round {number + 1} of {rounds}")
        for name in shuffled.sample(list(_IMPORTS), len(_IMPORTS)):
            module, before = _IMPORTS[name]
            taken[name].append(Child(measure, module=module, before=before).result())
    has_httpx = Child(initialised).result()
    table = Table(
        "Import, added to a process that has sentry_sdk",
        ["module", "milliseconds", "MB"],
        [
            [
                name,
                Spread.of([seconds for seconds, _ in of]).text(1e3),
                Spread.of([memory for _, memory in of]).text(1e-6),
            ]
            for name, of in taken.items()
        ],
        "Where httpx is installed, sentry_sdk.init alone "
        + ("imports it, for an integration of its own." if has_httpx else "does not import it."),
    )
    return Figure("imports", [table], raw=taken)
