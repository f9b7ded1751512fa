"""A worker, put together out of what the wings have: Segment's API, and the spool."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

from sentry_sdk import scrubber as sdk_scrubber

from sentry_segment import spool_options
from sentry_segment.delivery.worker import Worker
from sentry_segment.guest.log import ProblemLog, describe
from sentry_segment.mapping.message import Secrets
from sentry_segment.mapping.secret_names import NameRule
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


def secret_names(sentry_options: dict[str, Any]) -> NameRule:
    """What the client filters in headers and form fields, by their names.

    That is the `denylist` of its `event_scrubber`, to which the SDK adds the `pii_denylist` unless
    `send_default_pii` is set. With `data_collection` the SDK has no scrubber: the names of the
    default one count then, and what `url_query_params` says of query strings.
    """
    scrubber = sentry_options.get("event_scrubber")
    if scrubber is not None:
        return NameRule(_lower(getattr(scrubber, "denylist", None)))
    collected = sentry_options.get("data_collection") or {}
    whole = _lower(sdk_scrubber.DEFAULT_DENYLIST)
    if not collected.get("user_info"):
        whole |= _lower(sdk_scrubber.DEFAULT_PII_DENYLIST)
    parameters = collected.get("url_query_params") or {}
    terms = _lower(parameters.get("terms")) - {""}  # which the SDK passes over
    if parameters.get("mode", "denylist") == "denylist":
        return NameRule(whole, parts=terms)
    return NameRule(whole, allowed=terms if parameters["mode"] == "allowlist" else frozenset())


def _lower(names: Any) -> frozenset[str]:
    # Of a scrubber of the application's own making it may be anything: a generator is its own.
    if not isinstance(names, Collection):
        return frozenset()
    return frozenset(name.lower() for name in names if isinstance(name, str))


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
