"""The integration, as users see it: its options, and its place in the SDK."""

from __future__ import annotations

import atexit
import os
from functools import partial
from typing import Any

from sentry_sdk import Client
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations import logging as sentry_logging

from sentry_segment.assembly import make_worker, secret_names
from sentry_segment.delivery.worker import Worker
from sentry_segment.delivery.workers import Workers, flush_at_exit
from sentry_segment.guest.forks import is_before_fork_in_c
from sentry_segment.guest.log import ProblemLog, logger, warn
from sentry_segment.guest.shutdown import mark_end
from sentry_segment.mapping.message import Secrets
from sentry_segment.mapping.secret_names import SecretNames
from sentry_segment.oauth_options import DEFAULT_AUTH_SERVER, DEFAULT_SCOPE
from sentry_segment.options import WRITE_KEY_VARIABLE, BeforeTrack, OnError, Options
from sentry_segment.sdk.attach import attaching
from sentry_segment.sdk.mirror import Mirror
from sentry_segment.sdk.transport import MirroringTransport
from sentry_segment.stats import Stats
from sentry_segment.wire.network import NetworkOptions


class SegmentIntegration(Integration):
    """Mirrors every error that Sentry receives for a known user to Segment.

        sentry_sdk.init(dsn="https://...", integrations=[SegmentIntegration(write_key="...")])

    What Sentry gets is never changed, delayed or dropped. Messages are delivered by a background
    thread, which is started with the first of them.

    Args:
        write_key: the Segment source's write key; `None` reads the environment variable
            `SEGMENT_WRITE_KEY`. Where it is empty, the integration does nothing, and says so in
            its log.
        host: base URL of Segment, or of a collector compatible with it; `None` reads the
            environment variable `SEGMENT_HOST`, and is `https://api.segment.io` without one.
            Workspaces in the EU have `https://events.eu1.segmentapis.com`.
        event_name: the track calls' `event`.
        before_track: `(message, event) -> message or None`, called in the capturing thread with
            each message and a deep copy of the Sentry event it was made from: edits the message,
            or drops it by returning `None`. Where it raises, the message is dropped, so that
            nothing leaves that it was to remove. A very long message is cut before.
        on_error: `(error, messages)`, called from the background thread for messages that
            Segment refused for good, or that can't be sent. `error` is a `DeliveryError`, with
            the HTTP `status`, or `None` where there was no answer.
        max_queue_size: messages held in memory while Segment does not take them; past it the
            newest are dropped.
        rate_limit: `(requests, seconds)`: how many requests the integration makes from one
            process in any stretch of so many seconds at the most. What is more waits.
        timeout: seconds for one exchange with Segment, as a whole.
        gzip: whether to compress the requests' bodies.
        scrub: whether to filter from URLs, query strings and referrers what Sentry's servers filter
            by default, and the names that the SDK knows as secret.
        spool: where messages wait, so that they outlive the process: what one leaves there is sent
            by the next with the same write key. Either the path of a file, whose folder must
            exist: processes of one user on one machine may share it. Or the URL of a Redis or a
            Valkey, `redis://`, `rediss://` or `unix://`, for all processes of a fleet (extra
            `redis`), whose requests `rate_limit` then bounds together. `None`: messages wait in
            memory alone.
        spool_max_bytes: size up to which the spool grows; past it the newest messages are dropped.
        anonymous: whether errors of visitors without a user id are mirrored too, by the anonymous
            id of Segment's: from `set_anonymous_id`, else from the cookie `ajs_anonymous_id` where
            the event has it.
        sentry_url: base URL of the organization in Sentry, such as `https://acme.sentry.io` or
            `https://sentry.example.com/organizations/acme`: adds a link to the event,
            `properties.sentryUrl`.
        oauth_client_id: the id of an OAuth application in Segment, which with the next two takes
            the place of Basic authentication. Needs `pip install "sentry-segment[oauth]"`.
        oauth_client_key: its RSA private key, as text in PEM form.
        oauth_key_id: the id that Segment shows for that key.
        oauth_auth_server: base URL of the server that tokens come from.
        oauth_scope: what the tokens are for.

    Raises:
        ImportError: `oauth_client_key` is given, and the extra `oauth` is not installed.
        TypeError: an option has a value of a wrong type. The error names the option.
        ValueError: an option has a value that is not allowed. The error names the option.
    """

    identifier = "segment"

    def __init__(
        self,
        write_key: str | None = None,
        *,
        host: str | None = None,
        event_name: str = "Error Captured",
        before_track: BeforeTrack | None = None,
        on_error: OnError | None = None,
        max_queue_size: int = 10_000,
        rate_limit: tuple[int, float] = (200, 1.0),
        timeout: float = 10.0,
        gzip: bool = False,
        scrub: bool = True,
        spool: str | os.PathLike[str] | None = None,
        spool_max_bytes: int = 100_000_000,
        anonymous: bool = False,
        sentry_url: str | None = None,
        oauth_client_id: str | None = None,
        oauth_client_key: str | None = None,
        oauth_key_id: str | None = None,
        oauth_auth_server: str = DEFAULT_AUTH_SERVER,
        oauth_scope: str = DEFAULT_SCOPE,
    ) -> None:
        try:
            options = Options(
                write_key=write_key,  # type: ignore[arg-type]  # None becomes the environment's
                host=host,  # type: ignore[arg-type]  # so does this
                event_name=event_name,
                before_track=before_track,
                on_error=on_error,
                max_queue_size=max_queue_size,
                rate_limit=rate_limit,
                timeout=timeout,
                gzip=gzip,
                scrub=scrub,
                spool=spool,  # type: ignore[arg-type]  # becomes a string
                spool_max_bytes=spool_max_bytes,
                anonymous=anonymous,
                sentry_url=sentry_url,
                oauth_client_id=oauth_client_id,
                oauth_client_key=oauth_client_key,
                oauth_key_id=oauth_key_id,
                oauth_auth_server=oauth_auth_server,
                oauth_scope=oauth_scope,
            )
        except (TypeError, ValueError, ImportError) as error:
            raise error.with_traceback(None) from None
        finally:
            # Sentry shows the variables of the frames of a traceback, and of a log line: none of
            # ours is to hold the key.
            write_key = oauth_client_key = None
        self._begin(options)
        if not self._options.write_key:
            warn(
                "No write key: errors are not mirrored to Segment. "
                f"Pass write_key, or set the environment variable {WRITE_KEY_VARIABLE}"
            )
            return
        if self._options.is_placeholder:
            warn(
                "write_key looks like a placeholder: nothing will arrive. "
                "Pass the write key of your Segment source"
            )
        if self._options.is_plain_http:
            warn(
                f"host is {self._options.host}: messages and the write key will cross the network "
                f"unencrypted"
            )
        elif self._options.has_plain_auth_server:
            warn(
                f"oauth_auth_server is {self._options.oauth_auth_server}: tokens will cross the "
                f"network unencrypted"
            )

    def _begin(self, options: Options) -> None:
        self._options = options
        self._log = ProblemLog()
        self._mirror = Mirror(options, self._log)
        # Those of each client that comes to it. Nothing is taken out again.
        self._secret_names = SecretNames()

    def __repr__(self) -> str:
        options = self._options
        return f"<SegmentIntegration write_key={options.masked_write_key!r} host={options.host!r}>"

    def __getstate__(self) -> dict[str, Any]:
        """Pickled are the options alone: a copy has a queue and a thread of its own."""
        return {"options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin(state["options"])

    @property
    def stats(self) -> Stats:
        """A snapshot of what became of the messages in this process so far."""
        worker = self._worker
        return Stats() if worker is None else worker.stats()

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until what was mirrored so far is delivered, `timeout` seconds at the most.

        A wait between two tries is cut short, but for one that Segment itself asked for. Returns
        whether everything is delivered (or was refused for good). What is in the spool alone is not
        delivered.

        `sentry_sdk.flush()` and the end of the process flush the mirror too: call this only to
        wait for Segment alone.
        """
        worker = self._worker
        return worker is None or worker.finish_flush(worker.begin_flush(timeout))

    @staticmethod
    def setup_once() -> None:
        """Called by the SDK once in a process, for the first client with this integration."""
        # Our log lines must neither become events, breadcrumbs nor logs in Sentry, not even where
        # they are handed on in other threads. There loguru calls a logger as its module is called.
        for name in (logger.name, f"{logger.name}.*"):
            sentry_logging.ignore_logger(name)
            ignore_logs = getattr(sentry_logging, "ignore_logger_for_sentry_logs", None)
            if ignore_logs is not None:  # newer SDKs keep a second list
                ignore_logs(name)
        # Exit handlers run last in, first out: this one after Sentry's own, which the SDK sets up
        # after the integrations that are given to it.
        atexit.register(flush_at_exit)
        if not hasattr(Client.capture_event, "attaches"):
            Client.capture_event = attaching(Client.capture_event)  # type: ignore[method-assign]

    def setup_once_with_options(self, options: dict[str, Any] | None = None) -> None:
        """Called by newer SDKs after `setup_once`, with the client's options."""
        if options and options.get("dsn") and self._options.write_key and self._options.spool:
            self._mirror.guarded(self._resume, options)

    def _resume(self, options: dict[str, Any]) -> None:
        # That takes a thread. uWSGI's workers look into the spool with their first message.
        if not is_before_fork_in_c():
            self._workers_for(options).here().resume()

    def attach(self, client: Any) -> None:
        """Watch a client's transport from now on, if there is anything to be mirrored."""
        if client.transport is not None and self._options.write_key:
            self.watch(client)

    def watch(self, client: Any) -> None:
        """Watch a client's transport from now on, if that is not done yet."""
        transport = client.transport
        if getattr(transport, "mirroring_for", None) is self:
            return
        # Should two threads come by here at once, each wraps the bare transport, and either of the
        # wrappers may stay.
        workers = self._workers_for(client.options)
        link = self._options.sentry_link(client.options.get("dsn"))
        mirroring = MirroringTransport(transport, self._mirror, workers, self, link)
        if client.transport is transport:  # and was not closed by another thread meanwhile
            client.transport = mirroring
        mark_end()

    def mirror_of(self, client: Any) -> Mirror:
        """Who mirrors events that this client has not captured: browsers'."""
        self._mirror.guarded(self.attach, client)
        return self._mirror

    @property
    def _secrets(self) -> Secrets:
        """What is filtered besides what Sentry's servers filter by default."""
        return self._secret_names if self._options.scrub else None

    @property
    def _worker(self) -> Worker | None:
        """That of this process."""
        workers = self._mirror.workers
        return None if workers is None else workers.here()

    def _workers_for(self, sentry_options: dict[str, Any]) -> Workers:
        self._secret_names.add(secret_names(sentry_options))
        workers = self._mirror.workers
        if workers is None:
            network = NetworkOptions.from_sentry(sentry_options)
            exit_timeout = sentry_options["shutdown_timeout"]
            make = partial(
                make_worker, self._options, network, self._log, exit_timeout, self._secrets
            )
            workers = Workers(make)
            # Atomic, unlike an assignment after the question: of what two threads make, one stays.
            workers = self._mirror.__dict__.setdefault("workers", workers)
        return workers
