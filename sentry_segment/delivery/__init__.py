"""The queue, the thread, what is sent when, and what follows from the answer.

Imports `guest`, `mapping`, `wire` and what spools have in common. Knows nothing of Sentry or HTTP.
"""
