"""A shop's jobs on APScheduler."""
