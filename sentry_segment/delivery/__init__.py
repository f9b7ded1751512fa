"""The queue, the thread, what is sent when, and what follows from the answer.

Imports `guest`, `mapping`, the options, what spools have in common, and of `wire` what an answer
means and what fits into a request. Knows nothing of Sentry or HTTP: it is handed the connection.
"""
