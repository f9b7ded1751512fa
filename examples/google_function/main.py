"""A checkout over HTTP: functions-framework --source google_function/main.py --target checkout"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import flask
import functions_framework
import sentry_sdk

from sentry_segment import SegmentIntegration

sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
    release="shop@1.4.2",
    integrations=[SegmentIntegration()],
)

PRICES = {"cup": 8, "teapot": 40}


@contextmanager
def delivered() -> Iterator[None]:
    """Has what is captured within it delivered before the answer: after it, there may be no CPU."""
    try:
        yield
    except Exception as error:
        sentry_sdk.capture_exception(error)  # which Flask's integration would do too late
        raise
    finally:
        sentry_sdk.flush(float(os.environ.get("FLUSH_SECONDS", "2")))


@functions_framework.http
def checkout(request: flask.Request) -> flask.Response:
    """Fails where there is no such article."""
    with delivered():
        # Of a gateway that has checked who it is.
        if user_id := request.headers.get("X-User"):
            sentry_sdk.set_user({"id": user_id})
        return flask.jsonify(price=PRICES[request.args["article"]])
