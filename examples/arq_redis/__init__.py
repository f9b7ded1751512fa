"""A shop's jobs on arq."""
