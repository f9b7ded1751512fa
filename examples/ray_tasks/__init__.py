"""A shop's tasks on Ray."""
