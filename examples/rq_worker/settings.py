"""The settings of RQ's worker: rq worker -c rq_worker.settings"""

from __future__ import annotations

import os

import sentry_sdk
from sentry_sdk.integrations.rq import RqIntegration

from sentry_segment import SegmentIntegration

sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
    release="shop@1.4.2",
    integrations=[
        RqIntegration(),
        SegmentIntegration(
            spool=os.environ.get("SEGMENT_SPOOL"),
        ),
    ],
)

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
QUEUES = ["shop"]
