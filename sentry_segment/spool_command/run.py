"""What the command does: looks first whether there is a spool that it can use."""

from __future__ import annotations

import math
import sys

from sentry_segment.assembly import make_spool
from sentry_segment.guest.log import ProblemLog
from sentry_segment.options import WRITE_KEY_VARIABLE, Options
from sentry_segment.spool.contract import Spool, SpoolError
from sentry_segment.spool_command.discard import discard
from sentry_segment.spool_command.drain import Drain
from sentry_segment.spool_command.survey import as_json, as_text

NOT_THERE = 3
"""The exit status where there is no spool."""


def run(
    action: str,
    options: Options,
    *,
    is_json: bool = False,
    is_sure: bool = False,
    seconds: float | None = None,
) -> int:
    """Do one of `show`, `drain` and `discard` with the spool of the options; the exit status.

    `seconds` is how long a drain may take; `None` for as long as it does.
    """
    has_key = bool(options.write_key)
    if action != "show" and not has_key:
        print(
            f"There is no write key: set {WRITE_KEY_VARIABLE}, or give --write-key. A spool's "
            f"messages are those of a key",
            file=sys.stderr,
        )
        return 1
    try:
        spool = _spool(options)
        survey = spool.survey()
        if survey is None:
            print(f"There is no spool at {spool.place}", file=sys.stderr)
            return NOT_THERE
        if action == "show":
            tell = as_json if is_json else as_text
            print(tell(spool.place, survey, has_key))
            status = 0
        elif action == "drain":
            status = Drain(options, spool, seconds or math.inf).run()
        else:
            status = discard(spool, is_sure)
        others = sum(each.messages for each in survey if not each.is_ours)
        if action != "show" and others:
            print(f"{others:,} message(s) for other write keys were left alone", file=sys.stderr)
        spool.disconnect()
    except SpoolError as error:
        print(error, file=sys.stderr)
        return 1
    return status


def _spool(options: Options) -> Spool:
    """A spool as the integration makes it."""
    spool = make_spool(options, ProblemLog())
    if spool is None:
        raise SpoolError("The spool can't be used: this Python has no SQLite")
    return spool
