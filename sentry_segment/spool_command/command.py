"""The command `spool`: its arguments."""

from __future__ import annotations

import argparse
import os

from sentry_segment import arguments

HELP = "tell what waits in a spool, send it, or discard it"
DESCRIPTION = """\
Tells what waits in a spool: messages, bytes, the age of the oldest, and under how many writers,
held by how many running processes. Changes nothing, and needs no write key.

  drain    send what waits for the write key, as the integration would, until nothing is left. What
           a running process holds is left to it. What a killed one held can be sent after half a
           minute, which is waited for.
  discard  throw away what waits for the write key and no process holds. Asks first.
"""
END = """\
The environment's proxy and certificates are used, as by check.

exit status:
  0    done; after a drain, nothing is left for the write key
  1    something is left, or was given up; or the spool can't be used
  2    a wrong argument
  3    there is no spool at the place
  130  interrupted: what is left can be sent by another process at once
  143  ended by SIGTERM, in the same way
"""


def add_to(command: argparse.ArgumentParser) -> None:
    """Its arguments."""
    command.add_argument(
        "spool",
        metavar="PLACE",
        help="as the integration's option spool; or env:NAME, the environment variable that has "
        "it, where other users of this machine do not see a Redis's password",
    )
    command.add_argument(
        "action", nargs="?", choices=("show", "drain", "discard"), default="show", help="see above"
    )
    arguments.add_destination(command)
    command.add_argument("--json", action="store_true", help="of show: all figures, as JSON")
    command.add_argument("--yes", action="store_true", help="of discard: do not ask")
    command.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="of drain: for all of it (default: as long as it takes)",
    )


def run(given: argparse.Namespace) -> int:
    """Show, drain or discard; the exit status. Raises as the integration for a wrong argument."""
    from sentry_segment.spool_command.run import run  # which takes much that a check does not

    options = arguments.options(given, "Error Captured", timeout=10.0, spool=_place(given.spool))
    return run(given.action, options, is_json=given.json, is_sure=given.yes, seconds=given.timeout)


def _place(text: str) -> str:
    """Where the spool is; of a variable, what is in it. `ValueError` where that is nothing."""
    prefix, _, name = text.partition("env:")
    if prefix or not name:
        return text
    place = os.environ.get(name, "")
    if not place:
        raise ValueError(f"PLACE: expected a spool in the variable {name}; it is not set, or empty")
    return place


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError("expected a number of seconds greater than 0")
    return seconds
