"""One exchange with Segment: the client, proxy and TLS, a time limit, and what an answer means.

Imports `guest` and the options. Knows JSON texts alone, and nothing of when they are sent or again.
"""
