"""Mirror every error that Sentry receives for a known user to Segment.

import sentry_sdk
from sentry_segment import SegmentIntegration

sentry_sdk.init(dsn="https://...", integrations=[SegmentIntegration(write_key="...")])
"""

from sentry_segment._version import __version__
from sentry_segment.integration import SegmentIntegration
from sentry_segment.mapping.message import TrackMessage
from sentry_segment.mapping.visitor import anonymous_id_from
from sentry_segment.sdk.visitor import set_anonymous_id
from sentry_segment.stats import Stats
from sentry_segment.wire.verdict import DeliveryError

__all__ = [
    "DeliveryError",
    "SegmentIntegration",
    "Stats",
    "TrackMessage",
    "__version__",
    "anonymous_id_from",
    "set_anonymous_id",
]
