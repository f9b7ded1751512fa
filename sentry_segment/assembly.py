"""A worker, put together out of what the wings have: Segment's API, and the spool."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

from sentry_segment import spool_options
from sentry_segment.delivery.worker import Worker
from sentry_segment.guest.log import ProblemLog, describe
from sentry_segment.mapping.message import Secrets
from sentry_segment.options import Options
from sentry_segment.spool.contract import Spool
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions


def make_worker(
    options: Options,
    network: NetworkOptions,
    log: ProblemLog,
    exit_timeout: float,
    secrets: Secrets,
    users: set[Hashable],
) -> Worker:
    """A worker, with what it calls: Segment's API, and the spool."""
    api = SegmentApi(options, network)
    spool = make_spool(options, log)
    return Worker(options, api, spool, log, exit_timeout, users, secrets=secrets)


def secret_names(sentry_options: dict[str, Any]) -> set[str]:
    """The names by which the client's `event_scrubber` filters headers and form fields.

    Those are its `denylist`, to which the SDK adds the `pii_denylist` unless `send_default_pii` is
    set.
    """
    names = getattr(sentry_options.get("event_scrubber"), "denylist", None)
    # Of a scrubber of the application's own making it may be anything: a generator is its own.
    if not isinstance(names, Collection):
        return set()
    return {name.lower() for name in names if isinstance(name, str)}


def make_spool(options: Options, log: ProblemLog) -> Spool | None:
    if options.spool is None:
        return None
    given = (options.spool, options.spool_max_bytes, options.write_key)
    if spool_options.is_redis(options.spool):
        from sentry_segment.spool.redis import RedisSpool

        return RedisSpool(*given, log.warn)
    try:
        from sentry_segment.spool.sqlite import SqliteSpool
    except ImportError as error:  # some Pythons are built without SQLite
        text = "The spool can't be used: messages wait in memory alone"
        log.warn("spool", f"{text} ({describe(error)})")
        return None
    return SqliteSpool(*given)
