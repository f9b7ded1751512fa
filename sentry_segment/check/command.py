"""The command `check`: its arguments, and what they make of the integration's options."""

from __future__ import annotations

import argparse

from sentry_segment import arguments
from sentry_segment.check.run import EVENT_NAME, USER_ID, check
from sentry_segment.options import WRITE_KEY_VARIABLE

HELP = "tell whether this machine can deliver to Segment"
DESCRIPTION = f"""\
Sends one test message to Segment, as the integration sends errors, and prints each step with its
time. Where a step fails, it says what to do. Nothing is sent to Sentry.

The message is a track call named "{EVENT_NAME}", of the user "{USER_ID}".
"""
END = """\
The environment's proxy and certificates are used: HTTPS_PROXY, HTTP_PROXY, NO_PROXY,
SSL_CERT_FILE, REQUESTS_CA_BUNDLE, CLIENT_CERT_FILE, CLIENT_KEY_FILE. What you pass to
sentry_sdk.init instead (https_proxy, ca_certs) is not known here: set the variables for it.

exit status:
  0    the message was taken
  1    a step failed
  2    a wrong argument
  130  interrupted
"""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    arguments.add_destination(parser)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="for all of it (default: %(default)s)",
    )


def run(given: argparse.Namespace) -> int:
    """Check; the exit status. Raises as the integration for a wrong argument."""
    source = WRITE_KEY_VARIABLE if given.write_key is None else "--write-key"
    return 0 if check(arguments.options(given, EVENT_NAME, given.timeout), source) else 1
