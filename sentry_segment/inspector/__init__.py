"""A local stand-in for Segment and Sentry, with a page that shows what arrives.

python -m sentry_segment.inspector

It needs the extra `inspector`. In Python, `sentry_segment.inspector.server.Inspector` runs it.
"""
