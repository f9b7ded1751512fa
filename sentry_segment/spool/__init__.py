"""What outlives the process: messages on disk, held by a lease.

Imports `guest`, and from `wire` what fits into a request. Knows neither threads nor answers.
"""
