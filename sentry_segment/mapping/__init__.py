"""Sentry's event to Segment's message, in JSON. Pure functions.

Imports `guest` alone. Knows neither threads nor the network, nor that anything waits or is sent.
"""
