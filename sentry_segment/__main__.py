"""The command line: `python -m sentry_segment check`, and `spool`."""

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
_SPOOL = """\
Tells what waits in a spool: messages, bytes, the age of the oldest, and under how many writers,
held by how many running processes. Changes nothing, and needs no write key.

  drain    send what waits for the write key, as the integration would, until nothing is left. What
           a running process holds is left to it. What a killed one held can be sent after half a
           minute, which is waited for.
  discard  throw away what waits for the write key and no process holds. Asks first.
"""
_SPOOL_END = """\
The environment's proxy and certificates are used, as by check.

exit status:
  0    done; after a drain, nothing is left for the write key
  1    something is left, or was given up; or the spool can't be used
  2    a wrong argument
  3    there is no spool at the place
  130  interrupted: what is left can be sent by another process at once
  143  ended by SIGTERM, in the same way
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
    try:
        status: int = given.run(options, given)
        return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head`, say: nobody reads on
        # Or Python would write again when it ends, as in
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _check(options: Options, given: argparse.Namespace) -> int:
    source = WRITE_KEY_VARIABLE if given.write_key is None else "--write-key"
    return 0 if check(options, source) else 1


def _spool(options: Options, given: argparse.Namespace) -> int:
    from sentry_segment.spool_command.run import run  # which takes much that a check does not

    return run(
        given.action,
        options,
        is_json=given.json,
        is_sure=given.yes,
        seconds=given.seconds,
    )


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
    command.set_defaults(parser=command, run=_check, spool=None)
    _add_destination(command)
    command.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="for all of it (default: %(default)s)",
    )
    _add_spool(commands)
    return program


def _add_spool(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "spool",
        help="tell what waits in a spool, send it, or discard it",
        description=_SPOOL,
        epilog=_SPOOL_END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # For one request, and not for all of it.
    command.set_defaults(parser=command, run=_spool, timeout=10.0)
    command.add_argument("spool", metavar="PLACE", help="as the integration's option spool")
    command.add_argument(
        "action", nargs="?", choices=("show", "drain", "discard"), default="show", help="see above"
    )
    _add_destination(command)
    command.add_argument("--json", action="store_true", help="of show: all figures, as JSON")
    command.add_argument("--yes", action="store_true", help="of discard: do not ask")
    command.add_argument(
        "--timeout",
        dest="seconds",
        metavar="SECONDS",
        type=_seconds,
        help="of drain: for all of it (default: as long as it takes)",
    )


def _add_destination(command: argparse.ArgumentParser) -> None:
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
    _add_oauth(command)


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError("expected a number of seconds greater than 0")
    return seconds


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
        rate_limit=(200, 1.0),
        timeout=given.timeout,
        scrub=True,
        gzip=False,
        spool=given.spool,
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
