"""Runs the demo: the inspector, the shop, visitors, and a check of what became of their visits."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO

from demo.check import Check, checks, of_side, request_id
from demo.screen import BOLD, GREEN, RED, Screen
from demo.visits import VISITS, Browsers, Visited
from sentry_segment.inspector.server import Inspector
from sentry_segment.inspector.store import Store

WRITE_KEY = "demo-write-key"
PATIENCE = 1.0
"""Seconds to wait for what a visit must bring before the next one is made all the same."""


def main() -> int:
    """The demo's exit status: 0 where everything is as it should be."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "--serve", action="store_true", help="make no visits; keep the shop up until Ctrl-C"
    )
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))

    screen = Screen()
    with Inspector() as inspector:
        store = inspector.store
        with running_shop(inspector) as shop:
            screen.say(f"The shop                               {shop.url}")
            screen.say(f"Sentry and Segment, played locally     {inspector.url}")
            if options.serve:
                serve(screen)
                return 0
            store.listen(screen.arrival)
            visited = make_visits(shop.url, store, screen)
            screen.say("The shop is stopped straight after the last answer.", BOLD)
            shop.stop()
            screen.rest()
            done = [*checks(store, visited, WRITE_KEY), shop.check()]
        return summary(screen, store, done)


@dataclass
class Shop:
    """The shop's process."""

    process: subprocess.Popen[str]
    url: str
    log: IO[str]

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.process.terminate()
        try:
            self.process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def check(self) -> Check:
        """Whether it ended as it should, once it has."""
        status = self.process.returncode
        problems = [] if status == 0 else [f"exit status {status}", *self.last_words()[-2:]]
        return Check("The shop ended orderly", 1, problems)

    def last_words(self) -> list[str]:
        """The end of what it wrote to standard error."""
        self.log.seek(0)
        return self.log.read().splitlines()[-20:]


@contextmanager
def running_shop(inspector: Inspector) -> Iterator[Shop]:
    """The shop as a process of its own, which has ended in the end."""
    environment = {
        **os.environ,
        "SENTRY_DSN": inspector.dsn,
        "SEGMENT_HOST": inspector.url,
        "SEGMENT_WRITE_KEY": WRITE_KEY,
        # A proxy in the environment cannot reach 127.0.0.1.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    command = [sys.executable, "-m", "demo.shop", "--until-stdin-ends"]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # whose end the shop sees, however the demo ends
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        ) as process,
    ):
        shop = Shop(process, "", log)
        try:
            assert process.stdout is not None
            shop.url = process.stdout.readline().strip()
            if not shop.url:
                shop.stop()
                raise SystemExit("\n".join(["The shop did not start.", *shop.last_words()]))
            yield shop
        finally:
            shop.stop()


def make_visits(shop_url: str, store: Store, screen: Screen) -> list[Visited]:
    """All of them, one after the other; after each but the last, wait for what must come of it."""
    screen.head()
    visited: list[Visited] = []
    with closing(Browsers(shop_url)) as browsers:
        for visit in VISITS:
            screen.visit(visit)
            visited.append(browsers.make(visit))
            if visit is VISITS[-1]:
                break
            settled = store.wait_for(partial(has_arrived, store, visited), PATIENCE)
            if settled and not visit.has_event:
                screen.only_transaction()
    return visited


def has_arrived(store: Store, visited: Sequence[Visited]) -> bool:
    """Whether everything is there that the last visit must bring."""
    made = visited[-1]
    if store.others.get("transaction", 0) < len(visited):
        return False
    if not made.visit.has_event:
        return True
    event_ids = {
        record.id
        for record in of_side(store, "sentry")
        if request_id(record.payload) == made.request_id
    }
    if not made.visit.is_mirrored:
        return bool(event_ids)
    return any(record.id in event_ids for record in of_side(store, "segment"))


def serve(screen: Screen) -> None:
    """Leave everything up until Ctrl-C."""
    screen.say()
    screen.say("Open both in a browser. The shop says on each button what works and what fails.")
    screen.say('"A lamp in BTC" fails: as a guest, Sentry has the error and Segment nothing;')
    screen.say("after logging in, Segment has it too. Ctrl-C ends the demo.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        screen.say()


def summary(screen: Screen, store: Store, done: Sequence[Check]) -> int:
    """Print the checks; the exit status."""
    failed = [check for check in done if check.problems]
    screen.say()
    screen.say(
        f"Sentry received {len(of_side(store, 'sentry'))} events, "
        f"Segment {len(of_side(store, 'segment'))} track calls.",
        BOLD,
    )
    screen.result(done)
    screen.say()
    if failed:
        screen.say(f"{len(failed)} of {len(done)} checks failed.", RED)
        return 1
    screen.say(f"All {len(done)} checks passed.", GREEN)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
