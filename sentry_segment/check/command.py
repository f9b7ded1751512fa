"""The command `check`: its arguments, and what they make of the integration's options."""

from __future__ import annotations

import argparse
import os

from sentry_segment.check import key
from sentry_segment.check.report import Report
from sentry_segment.check.run import EVENT_NAME, USER_ID, check
from sentry_segment.options import DEFAULT_HOST, WRITE_KEY_VARIABLE, Options

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
    parser.add_argument(
        "--write-key",
        metavar="KEY",
        help=f"the source's write key (default: {WRITE_KEY_VARIABLE}, where other users of this "
        f"machine do not see it)",
    )
    parser.add_argument(
        "--host",
        metavar="URL",
        default=DEFAULT_HOST,
        help="as the integration's option (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="for all of it (default: %(default)s)",
    )


def run(given: argparse.Namespace) -> int:
    """Check; the exit status. Raises `TypeError` and `ValueError` for a wrong argument."""
    source = WRITE_KEY_VARIABLE if given.write_key is None else "--write-key"
    named = os.environ.get(WRITE_KEY_VARIABLE, "") if given.write_key is None else given.write_key
    wrong = key.fault(named)
    if wrong is not None:
        Report(str).failed("write key", f"{wrong.what} ({source})", wrong.advice)
        return 1
    return 0 if check(_options(given), source) else 1


def _options(given: argparse.Namespace) -> Options:
    """Checked as the integration's, whose constructor would log lines besides."""
    return Options(
        write_key=given.write_key,
        host=given.host,
        event_name=EVENT_NAME,
        before_track=None,
        on_error=None,
        max_queue_size=1,
        rate_limit=(1, 1.0),
        timeout=given.timeout,
        scrub=True,
        gzip=False,
        spool=None,
        spool_max_bytes=1_000_000,
    )
