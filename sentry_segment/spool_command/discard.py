"""Throws away what waits in a spool, for one write key, once it was asked for twice."""

from __future__ import annotations

import sys

from sentry_segment.spool.contract import Spool
from sentry_segment.spool_command.survey import in_use, messages_of


def discard(spool: Spool, is_sure: bool) -> int:
    """Ask, unless `is_sure`, and discard what no process holds; the exit status."""
    ours = [each for each in spool.survey() or [] if each.is_ours]
    held = in_use(ours)
    free = messages_of(ours) - messages_of(held)
    if free:
        if not is_sure and not _asks(f"Discard {free:,} message(s) in {spool.place} for good?"):
            print("Nothing was discarded")
            return 1
        print(f"{_discard(spool):,} message(s) discarded")
    else:
        print("There is nothing to discard")
    if held:
        print(
            f"{messages_of(held):,} left in the spool: a running process holds them. End it, or "
            f"wait for half a minute where it was killed"
        )
    return 1 if held else 0


def _discard(spool: Spool) -> int:
    discarded = 0
    claimed, _ = spool.tend([])
    try:
        while rows := spool.read(claimed, ()):
            spool.delete([row.id for row in rows])
            discarded += len(rows)
    finally:
        spool.release()
    return discarded


def _asks(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:  # nobody there
        print("Nobody answers: give --yes", file=sys.stderr)
        return False
