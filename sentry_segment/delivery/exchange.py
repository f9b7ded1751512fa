"""A request in a thread of its own, while the worker's goes on writing to the spool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from sentry_segment.guest.log import describe
from sentry_segment.guest.silence import outside_any_request, silence
from sentry_segment.wire.verdict import Outcome, Verdict


def in_own_thread(send: Callable[[], Verdict], done: Callable[[], object]) -> Future[Verdict]:
    """Call `send` in a new thread, and `done` when its verdict is there.

    Raises `RuntimeError` where no thread can be started, as when the interpreter shuts down.
    """
    verdict: Future[Verdict] = Future()

    def run() -> None:
        try:
            with silence():
                verdict.set_result(send())
        except BaseException as error:  # noqa: BLE001 - the messages are kept, whatever it is
            verdict.set_result(Verdict(Outcome.RETRY, describe(error)))
        done()

    thread = threading.Thread(target=run, name="sentry-segment request", daemon=True)
    outside_any_request(thread.start)
    return verdict
