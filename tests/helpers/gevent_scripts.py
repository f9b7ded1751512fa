"""The beginning of scripts in which threads are greenlets."""

from __future__ import annotations

import scripts

IMPORTS = """
    import os, sys, time
    import gevent
    import sentry_sdk
    from sentry_segment import SegmentIntegration

    def init(**options):
        integration = SegmentIntegration("{key}", host=sys.argv[2], spool=sys.argv[3] or None)
        alone = {{"auto_enabling_integrations": False, "integrations": [integration]}}
        sentry_sdk.init(**{{"dsn": sys.argv[1], **alone, **options}})
        # In the global scope, which native threads have too.
        sentry_sdk.Scope.get_global_scope().set_user({{"id": "u1"}})
        return integration

    def capture(name):
        return sentry_sdk.capture_event({{"exception": {{"values": [{{"type": name}}]}}}})

    def wait_until(condition):
        with gevent.Timeout({patience}):
            while not condition():
                gevent.sleep(0.001)
"""
PREAMBLE = (
    scripts.LEAN
    + """
    from gevent import monkey
    monkey.patch_all()
"""
    + IMPORTS
)
