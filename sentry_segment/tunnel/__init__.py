"""The browser's envelopes: passed on to Sentry by the application's own server, and mirrored.

May import all but the tools, which may use it. Nothing here trusts what a browser says.
"""

from sentry_segment.tunnel.app import SentryTunnel
from sentry_segment.tunnel.request import TunnelRequest

__all__ = ["SentryTunnel", "TunnelRequest"]
