"""A small shop under gunicorn, whose every tenth request fails: with the mirror, or without."""

from __future__ import annotations

import os

import sentry_sdk
from flask import Flask, request

from sentry_segment import SegmentIntegration

mirror = [SegmentIntegration("key", host=os.environ["SEGMENT_HOST"])]
sentry_sdk.init(integrations=mirror if os.environ["BENCHMARKS_MIRROR"] == "yes" else [])

app = Flask(__name__)


@app.before_request
def who_is_it() -> None:
    sentry_sdk.set_user({"id": request.headers["X-User"]})


@app.get("/basket")
def basket() -> dict[str, int]:
    return {"cups": 8}


@app.get("/order")
def order() -> dict[str, int]:
    basket: dict[str, int] = {}
    return {"address": basket["address"]}
