"""The command `inspector`: its arguments, and what it prints."""

from __future__ import annotations

import argparse
import errno
import re
import signal
import sys
import time

NEEDED = ("starlette", "uvicorn")

HELP = "show on a page of this machine what would arrive"
DESCRIPTION = "A local stand-in for Segment and Sentry, with a page that shows what arrives."
END = "It needs the extra: pip install 'sentry-segment[inspector]'"


def add_to(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=port, default=8010, help="port to listen on, 0 for a free one (%(default)s)"
    )
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        type=host_name,
        action="append",
        default=[],
        help="another name by which it is reached, such as host.docker.internal; may be repeated",
    )
    parser.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        type=origin,
        action="append",
        default=[],
        help="whose pages may send to it, besides those of this machine; may be repeated",
    )


def run(given: argparse.Namespace) -> int:
    """Run the inspector until Ctrl-C or SIGTERM; the exit status."""
    try:
        from sentry_segment.inspector.server import Inspector
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in NEEDED:
            raise
        sys.exit(f"The inspector needs {missing}: pip install 'sentry-segment[inspector]'")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    inspector = Inspector(given.host, given.port, given.allow_host, given.allow_origin)
    try:
        with inspector:
            if not inspector.only_loopback:
                print(WARNING, file=sys.stderr, flush=True)
            print(instructions(inspector.url, inspector.dsn), flush=True)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        print()
    except OSError as error:
        sys.exit(problem(error, given.host, given.port))
    return 0


def port(text: str) -> int:
    """The port that an argument names."""
    number = int(text)
    if not 0 <= number < 65536:
        raise argparse.ArgumentTypeError(f"{number} is no port: expected 0 to 65535")
    return number


def host_name(text: str) -> str:
    """A name as it is in a URL, without a port."""
    if not re.fullmatch(r"[\w.-]+", text):
        raise argparse.ArgumentTypeError(f"expected a name without a port, got {text!r}")
    return text


def origin(text: str) -> str:
    """An origin as browsers write it; "null" is that of a file."""
    if not re.fullmatch(r"https?://[\w.-]+(:\d+)?|null", text):
        raise argparse.ArgumentTypeError(
            f"expected an origin such as https://shop.example:3000, got {text!r}"
        )
    return text


WARNING = (
    "Whoever reaches this address can read what arrives: events hold personal data. "
    "Without --host, only this machine reaches it."
)


def instructions(url: str, dsn: str) -> str:
    """What to do with it."""
    return f"""\
Inspector: {url}

Point an application at it:

    sentry_sdk.init(
        dsn="{dsn}",
        integrations=[SegmentIntegration(write_key="inspector", host="{url}")],
    )

To keep its own DSN, have it run with spotlight="{url}/stream" in place of the dsn above.

Ctrl-C ends it."""


def problem(error: OSError, host: str, port: int) -> str:
    """Why it could not start, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is taken. Choose another with --port; 0 is any free one."
    return f"Can't listen on port {port} of {host}: {error}"
