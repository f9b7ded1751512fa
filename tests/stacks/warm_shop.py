"""The shop of `flask_gunicorn`, where the process that is to fork has captured an error before."""

from __future__ import annotations

import time

import sentry_sdk

from flask_gunicorn.shop import app

__all__ = ["app"]


def _rest() -> None:
    """Wait until no other thread does anything.

    One that holds the interpreter's lock at a fork in C would hold it for ever in the child.
    """
    used = -1.0
    while used < (used := time.process_time() - time.thread_time()):
        time.sleep(0.2)


with sentry_sdk.isolation_scope() as scope:
    scope.set_user({"id": "master"})
    sentry_sdk.capture_exception(LookupError("before the fork"))
    sentry_sdk.flush(60.0)
    _rest()
