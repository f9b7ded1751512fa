"""A shop's tasks on Dramatiq."""
