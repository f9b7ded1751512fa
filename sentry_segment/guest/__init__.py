"""To be a good guest in another's process: what all wings may use.

Imports nothing else of the package. Knows neither messages nor Segment.
"""
