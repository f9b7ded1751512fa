"""A shop's jobs on RQ."""
