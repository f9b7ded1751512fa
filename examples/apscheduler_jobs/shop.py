"""Reminds customers of an article, each in a job of its own: python -m apscheduler_jobs.shop 7=cup

Before the = is the user's id; a visitor has none. It goes on until it is told to end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import sentry_sdk
from apscheduler.schedulers.background import BackgroundScheduler

from sentry_segment import SegmentIntegration

PRICES = {"cup": 8, "teapot": 40}


@contextmanager
def job_of(user_id: str | None) -> Iterator[None]:
    """A scope for one run of a job, and what it raises captured in it.

    APScheduler logs the error afterwards, when the scope is gone. Sentry's SDK knows it again.
    """
    with sentry_sdk.isolation_scope() as scope:
        scope.set_transaction_name("remind")
        if user_id:
            scope.set_user({"id": user_id})
        try:
            yield
        except Exception as error:
            sentry_sdk.capture_exception(error)
            raise


def remind(article: str, user_id: str | None) -> None:
    with job_of(user_id):
        print(f"{user_id}: {article} for {PRICES[article]}", flush=True)


def main() -> None:
    sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
        release="shop@1.4.2",
        integrations=[SegmentIntegration(spool=os.environ.get("SEGMENT_SPOOL"))],
    )
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # in the threads to come as well
    scheduler = BackgroundScheduler()
    for order in sys.argv[1:]:
        user_id, _, article = order.partition("=")
        scheduler.add_job(remind, args=(article, user_id or None))  # at once, and once
    scheduler.start()
    signal.sigwait(signals)
    scheduler.shutdown()  # which waits for the jobs that run
    # And the end of the process waits for Sentry and Segment.


if __name__ == "__main__":
    main()
