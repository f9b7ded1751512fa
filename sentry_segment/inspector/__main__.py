"""`python -m sentry_segment.inspector`: the command `inspector` by its own name."""

from __future__ import annotations

import argparse
import sys

from sentry_segment.inspector import command


def main() -> int:
    """Run the inspector; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sentry_segment.inspector",
        description=command.DESCRIPTION,
        epilog=command.END,
    )
    command.add_to(parser)
    return command.run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
