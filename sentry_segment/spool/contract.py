"""What the spool and its users share; free of SQLite, which not every Python has."""

from __future__ import annotations

from typing import NamedTuple

LEASE = 30.0
"""Seconds for which a process that holds messages need not say that it is still there."""


class SpoolError(Exception):
    """The spool can't be used now. The text says why, and what to do."""


class SpoolLostError(SpoolError):
    """The file is gone: somebody has removed it, or it was damaged and has been set aside.

    What was in it is not sent. The next use begins a new file.
    """


class Row(NamedTuple):
    """A message in the spool, encoded."""

    id: int
    writer: int
    body: bytes
