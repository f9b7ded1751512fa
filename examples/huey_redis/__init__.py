"""A shop's tasks on Huey."""
