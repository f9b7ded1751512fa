"""The command line: `python -m sentry_segment COMMAND`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from sentry_segment._version import __version__
from sentry_segment.check import command as check
from sentry_segment.inspector import command as inspector
from sentry_segment.spool_command import command as spool

# Each is a module with HELP (a line), DESCRIPTION, END, `add_to(parser)` for its arguments, and
# `run(given)`, which returns the exit status, and raises `TypeError`, `ValueError` or
# `ImportError` for a wrong argument. What needs an extra is imported by `run`.
COMMANDS: dict[str, Any] = {"check": check, "inspector": inspector, "spool": spool}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    program = parser()
    _look_at_name(words, program)
    given, unknown = program.parse_known_args(words)
    command: argparse.ArgumentParser = given.parser
    if unknown:  # not shown: one may be the write key
        command.error("an argument too many")
    try:
        status: int = COMMANDS[given.command].run(given)
    except (TypeError, ValueError, ImportError) as error:
        command.error(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head`, say: nobody reads on
        # Or Python would write again when it ends, as in
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _look_at_name(words: list[str], program: argparse.ArgumentParser) -> None:
    """Exits where no command is named, or one that there is not."""
    if not words:
        program.print_help(sys.stderr)
        program.exit(2)
    named = next((word for word in words if not word.startswith("-")), None)
    if named is None or named in COMMANDS:
        return
    near = get_close_matches(named, COMMANDS, 1)
    if near:
        program.error(f"there is no command {named!r}: did you mean {near[0]!r}?")
    # What is like none of them is not shown: it may be the write key, in a wrong place.
    program.error(f"there is no such command: expected one of {', '.join(COMMANDS)}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Without the value: it may be the write key, in a wrong place."""
        super().error(re.sub(r"(invalid [a-z ]+):.*", r"\1", message, flags=re.DOTALL))


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    program = _Parser(
        prog="python -m sentry_segment",
        description="Mirrors every error that Sentry receives for a known user to Segment.",
    )
    program.add_argument("--version", action="version", version=f"sentry-segment {__version__}")
    commands = program.add_subparsers(dest="command", required=True, title="commands")
    for name, command in COMMANDS.items():
        made = commands.add_parser(
            name,
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=command.END,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(parser=made)
        command.add_to(made)
    return program


if __name__ == "__main__":
    sys.exit(main())
