"""What touches Sentry's SDK: its transport watched, its clients attached, events handed on.

Imports all wings above. Nothing but the integration itself imports it, and no event goes back.
"""
