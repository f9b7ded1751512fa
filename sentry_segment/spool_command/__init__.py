"""The command `python -m sentry_segment spool`: look at what waits in a spool, send it, discard it.

A tool: nothing imports it. It uses the spool through the contract alone, whatever it is made of.
"""
