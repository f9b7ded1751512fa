"""`python -m sentry_segment check`: whether this machine can deliver to Segment."""
