"""Sends a newsletter from threads: python worker_thread/newsletter.py 1906=jo@example.com 7=nowhere

Before the = is the user's id; a guest has none.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from queue import SimpleQueue

import sentry_sdk

from sentry_segment import SegmentIntegration

THREADS = 4

logger = logging.getLogger("newsletter")


def main() -> None:
    sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
        release="shop@1.4.2",
        integrations=[
            SegmentIntegration(
                spool=os.environ.get("SEGMENT_SPOOL"),
            )
        ],
    )
    letters: SimpleQueue[tuple[str, str] | None] = SimpleQueue()
    for _ in range(THREADS):
        threading.Thread(target=work, args=(letters,)).start()
    for recipient in sys.argv[1:]:
        user_id, _, address = recipient.partition("=")
        letters.put((user_id, address))
    for _ in range(THREADS):
        letters.put(None)


def work(letters: SimpleQueue[tuple[str, str] | None]) -> None:
    while (letter := letters.get()) is not None:
        user_id, address = letter
        # A scope for each letter: what is set in it holds for this thread and this letter alone.
        with sentry_sdk.isolation_scope() as scope:
            scope.set_transaction_name("newsletter")
            if user_id:
                scope.set_user({"id": user_id})
            try:
                send(address)
            except ValueError:
                logger.exception("No letter to %s", address)  # which Sentry's SDK makes an event of


def send(address: str) -> None:
    name, at, host = address.partition("@")
    if not at:
        raise ValueError(f"no address: {address}")
    print(f"sent to {name} at {host}")


if __name__ == "__main__":
    main()
