"""What can be wrong with the spool's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


def folder(path: Path) -> None:
    path.mkdir()


NO_PERMISSION = "give spool the path of a file in a folder that this process may write to"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program writes to the file, and does not come to an end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")
