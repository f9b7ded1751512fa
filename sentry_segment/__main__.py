"""The command line: `python -m sentry_segment check`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from sentry_segment._version import __version__
from sentry_segment.check.run import EVENT_NAME, USER_ID, check
from sentry_segment.oauth_options import DEFAULT_AUTH_SERVER, DEFAULT_SCOPE
from sentry_segment.options import DEFAULT_HOST, HOST_VARIABLE, WRITE_KEY_VARIABLE, Options

_CHECK = f"""\
Sends one test message to Segment, as the integration sends errors, and prints each step with its
time. Where a step fails, it says what to do. Nothing is sent to Sentry.

The message is a track call named "{EVENT_NAME}", of the user "{USER_ID}".
"""
_CHECK_END = """\
The environment's proxy and certificates are used: HTTPS_PROXY, HTTP_PROXY, NO_PROXY,
SSL_CERT_FILE, REQUESTS_CA_BUNDLE, CLIENT_CERT_FILE, CLIENT_KEY_FILE. What you pass to
sentry_sdk.init instead (https_proxy, ca_certs) is not known here: set the variables for it.

exit status:
  0    the message was taken
  1    a step failed
  2    a wrong argument
  130  interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    given, unknown = parser().parse_known_args(arguments)
    command: argparse.ArgumentParser = given.parser
    if unknown:  # not shown: one may be the write key
        command.error("an argument too many")
    try:
        options = _options(given)
    except (TypeError, ValueError, ImportError) as error:
        command.error(str(error))
    except OSError as error:
        command.error(f"--oauth-client-key-file: {error.strerror}")
    source = WRITE_KEY_VARIABLE if given.write_key is None else "--write-key"
    try:
        return 0 if check(options, source) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head`, say: nobody reads on
        # Or Python would write again when it ends, as in
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


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
    command = commands.add_parser(
        "check",
        help="tell whether this machine can deliver to Segment",
        description=_CHECK,
        epilog=_CHECK_END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(parser=command)
    command.add_argument(
        "--write-key",
        metavar="KEY",
        help=f"the source's write key (default: {WRITE_KEY_VARIABLE}, where other users of this "
        f"machine do not see it)",
    )
    command.add_argument(
        "--host",
        metavar="URL",
        help=f"as the integration's option (default: {HOST_VARIABLE}, else {DEFAULT_HOST})",
    )
    command.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="for all of it (default: %(default)s)",
    )
    _add_oauth(command)
    return program


def _add_oauth(command: argparse.ArgumentParser) -> None:
    """Other users of the machine may see arguments: the key itself comes from a file alone."""
    group = command.add_argument_group("OAuth 2.0", "As the integration's options.")
    group.add_argument("--oauth-client-id", metavar="ID")
    group.add_argument(
        "--oauth-client-key-file", metavar="PATH", help="a file with the private key in PEM form"
    )
    group.add_argument("--oauth-key-id", metavar="ID")
    for name, default in (("auth-server", DEFAULT_AUTH_SERVER), ("scope", DEFAULT_SCOPE)):
        group.add_argument(
            f"--oauth-{name}", metavar="TEXT", default=default, help="(default: %(default)s)"
        )


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
        oauth_client_id=given.oauth_client_id,
        oauth_client_key=_text_of(given.oauth_client_key_file),
        oauth_key_id=given.oauth_key_id,
        oauth_auth_server=given.oauth_auth_server,
        oauth_scope=given.oauth_scope,
    )


def _text_of(path: str | None) -> str | None:
    if path is None:
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main())
