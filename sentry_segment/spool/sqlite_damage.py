"""What it means when the spool's file can't be used, what is to be done, and what is done."""

from __future__ import annotations

import errno
import os
import sqlite3
import time

from sentry_segment.guest.log import describe
from sentry_segment.spool.contract import SpoolError, SpoolLostError
from sentry_segment.spool.sqlite_schema import UnusableError, was_spool


def failure(error: Exception, path: str, is_current: bool) -> SpoolError:
    """What an error means for the file, which is set aside where it is damaged.

    `is_current` says whether the file that failed is still the one that has this name.
    """
    if type(error) is sqlite3.DatabaseError:  # and no subclass: malformed, or no database
        return _set_aside(path, str(error), is_current)
    problem = describe(error)
    advice = "give spool the path of a file in a folder that this process may write to"
    if isinstance(error, UnusableError):
        problem, advice = str(error), error.advice
    elif _has_no_room(error):
        advice = "make room on its disk"
    elif is_locked(error):
        advice = "end the program that has locked it"
    elif os.path.isfile(path) and not os.access(path, os.R_OK | os.W_OK):
        advice = "it is another user's: give it to the one that runs this process"
    return SpoolError(f"The spool {path} can't be used ({problem}): {advice}")


def is_locked(error: Exception) -> bool:
    """Whether another process has kept the file to itself."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _has_no_room(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.OperationalError) and "full" in str(error)


def _set_aside(path: str, problem: str, is_current: bool) -> SpoolError:
    """Rename a damaged file, where it is our own and still the one that was opened."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = f"{path}.damaged-{stamp}-{os.getpid()}"
    try:
        if not is_current:
            return SpoolLostError(
                f"The spool {path} was damaged ({problem}), and is replaced already"
            )
        if not was_spool(path):
            return SpoolError(
                f"The spool {path} can't be used ({problem}): it is no spool, and left as "
                f"it is; give spool another path"
            )
        os.rename(path, aside)
        for suffix in ("-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.rename(path + suffix, aside + suffix)
    except OSError as error:
        return SpoolError(
            f"The spool {path} is damaged ({problem}) and can't be set aside "
            f"({describe(error)}): move it away"
        )
    return SpoolLostError(
        f"The spool {path} is damaged ({problem}). It is kept as {aside}; a new one is "
        f"begun, and the messages in the old one are not sent"
    )
