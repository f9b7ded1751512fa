"""`python -m sentry_segment check`: whether this machine can deliver to Segment.

Imports `guest`, `mapping`, `wire` and the options. Knows no queue and no thread of the mirror's.
"""
