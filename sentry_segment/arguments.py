"""What several commands take: where messages go, and what proves who sends them."""

from __future__ import annotations

import argparse

from sentry_segment.oauth_options import DEFAULT_AUTH_SERVER, DEFAULT_SCOPE
from sentry_segment.options import DEFAULT_HOST, HOST_VARIABLE, WRITE_KEY_VARIABLE, Options


def add_destination(command: argparse.ArgumentParser) -> None:
    """Write key, host, and OAuth's. Other users of the machine may see arguments: OAuth's key
    comes from a file alone."""
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


def options(
    given: argparse.Namespace, event_name: str, timeout: float, spool: str | None = None
) -> Options:
    """Checked as the integration's, whose constructor would log lines besides.

    Raises what that does, and `ValueError` for a file that can't be read.
    """
    return Options(
        write_key=given.write_key,
        host=given.host,
        event_name=event_name,
        before_track=None,
        on_error=None,
        max_queue_size=1,
        rate_limit=(200, 1.0),
        timeout=timeout,
        gzip=False,
        scrub=True,
        spool=spool,
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
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"--oauth-client-key-file: {error.strerror}") from error
