"""How long a message is in memory alone, before it is in the spool: what a SIGKILL then would lose.

    scripts/bench spool_window

From the return of the capture to the return of the commit, in milliseconds, in one process.
"""

from __future__ import annotations

import json
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.transport import Transport

from collector import Collector, Reply
from sentry_segment import SegmentIntegration
from sentry_segment.spool.sqlite import SqliteSpool


class Discarding(Transport):
    """Sentry, out of the way."""

    def capture_envelope(self, envelope: Any) -> None:
        pass


def measure(answer: Callable[[Any], Reply | None], captures: int, pause: float) -> list[float]:
    """Milliseconds for each capture, with `pause` seconds between any two."""
    committed: dict[str, float] = {}
    all_there = threading.Event()
    add = SqliteSpool.add

    def add_and_note(self: SqliteSpool, bodies: Sequence[bytes]) -> int:
        added = add(self, bodies)
        now = time.perf_counter()
        committed.update((json.loads(body)["messageId"], now) for body in bodies)
        if len(committed) >= captures:
            all_there.set()
        return added

    SqliteSpool.add = add_and_note  # type: ignore[method-assign]
    captured: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, Collector() as collector:
        collector.answer = answer
        segment = SegmentIntegration("wk", host=collector.url, spool=Path(folder, "spool.db"))
        sentry_sdk.init(collector.dsn, transport=Discarding, integrations=[segment])
        sentry_sdk.set_user({"id": "u1"})
        for _ in range(captures):
            event_id = sentry_sdk.capture_event({"exception": {"values": [{"type": "E"}]}})
            assert event_id is not None
            captured[event_id] = time.perf_counter()
            time.sleep(pause)
        assert all_there.wait(60.0)
        collector.answer = None
        collector.stop()  # and so is every request under way
        collector.start()
        assert segment.flush(60.0)
        sentry_sdk.get_client().close(timeout=10.0)
    SqliteSpool.add = add  # type: ignore[method-assign]
    # A commit may come before the capture returns.
    return [max(0.0, 1000 * (committed[each] - at)) for each, at in captured.items()]


def main() -> None:
    logging.getLogger("sentry_segment").setLevel(logging.CRITICAL)  # a line for every fault
    servers: dict[str, Callable[[Any], Reply | None]] = {
        "Segment answers": lambda call: None,
        "answers 503": lambda call: Reply(503),
        "never answers": lambda call: Reply(delay=threading.Event()),
    }
    print(f"{'':38}{'median':>9}{'99 %':>9}{'most':>9}   milliseconds")
    for name, answer in servers.items():
        for load, captures, pause in (("one every 10 ms", 300, 0.01), ("without a pause", 3000, 0)):
            times = measure(answer, captures, pause)
            late = statistics.quantiles(times, n=100)[98]
            row = f"{statistics.median(times):9.2f}{late:9.2f}{max(times):9.2f}"
            print(f"{name + ', ' + load:38}{row}", flush=True)


if __name__ == "__main__":
    main()
