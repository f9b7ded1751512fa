"""What the tunnel does with a request, whoever serves it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import sentry_sdk

from sentry_segment.guest.forks import PerProcess
from sentry_segment.guest.log import ProblemLog, describe
from sentry_segment.integration import SegmentIntegration
from sentry_segment.mapping.visitor import anonymous_id_from
from sentry_segment.tunnel.browser import completed
from sentry_segment.tunnel.dsn import Target
from sentry_segment.tunnel.envelope import header_and_items
from sentry_segment.tunnel.forward import Answer, Forwarder
from sentry_segment.tunnel.inflate import BodyError, inflate
from sentry_segment.tunnel.options import Id, TunnelOptions
from sentry_segment.tunnel.refusal import RefusalError, too_long
from sentry_segment.tunnel.request import TunnelRequest
from sentry_segment.wire.network import NetworkOptions

# What of a browser's request goes on to Sentry: neither cookies nor authorization, which are the
# application's.
_PASSED_ON = ("content-type", "content-encoding", "user-agent", "origin")
_NO_TEXT = re.compile(r"[\0-\x08\n-\x1f\x7f]")
"""What a header can't have. A tab it can."""
_MOST_ITEMS = 1_000  # of an envelope, in which an event is looked for. SDKs make a few
_SEEN_BY_BROWSERS = "Retry-After, X-Sentry-Rate-Limits"


class Opened(NamedTuple):
    """What the tunnel reads of an envelope."""

    target: Target
    """Where it goes."""
    event: bytes | None
    """Its event, if it has one."""
    event_id: object
    """As its header says, which for Sentry counts more than what the event says."""


class Core:
    """Asks, opens, mirrors and passes on. Thread-safe."""

    def __init__(self, options: TunnelOptions) -> None:
        self.options = options
        self._room = PerProcess(lambda: threading.Semaphore(options.max_concurrent))
        self._forwarders: dict[str, Forwarder] = {}
        self._own: Target | None = None
        """What the active client's DSN was the last time."""
        self._log = ProblemLog()

    def close(self) -> None:
        for forwarder in list(self._forwarders.values()):
            forwarder.close()

    def admit(self, method: str, headers: Mapping[str, str]) -> None:
        """Raises `RefusalError` before a body is read."""
        if method != "POST":
            raise RefusalError(405, "Post an envelope", ("allow", "POST"))
        origins = self.options.allowed_origins
        if origins is not None and headers.get("origin", "").lower() not in origins:
            raise RefusalError(403, "This origin is not allowed")
        length = headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 20 or int(length) > self.options.max_body_bytes):
            raise too_long()

    @contextmanager
    def on_its_way(self) -> Iterator[None]:
        """For the time of an envelope's way, its body being there: or browsers that send it slowly
        would keep out the others. Raises `RefusalError` where too many are."""
        room = self._room.get()
        if not room.acquire(blocking=False):
            raise RefusalError(429, "Too many at once", ("retry-after", "1"))
        try:
            yield
        finally:
            room.release()

    def opened(self, body: bytes, headers: Mapping[str, str]) -> Opened:
        """The envelope in a body. Raises `RefusalError`."""
        try:
            envelope = inflate(
                body, headers.get("content-encoding", ""), self.options.max_body_bytes
            )
            header, items = header_and_items(envelope)
            target = self._target(header.get("dsn"))
            looked_at = islice(items, _MOST_ITEMS)
            events = [payload for kind, payload in looked_at if kind == "event"]
        except BodyError as error:
            raise RefusalError(error.status, f"The body can't be read: {error}") from None
        except (ValueError, RecursionError):
            raise RefusalError(400, "The body is no envelope") from None
        return Opened(target, events[0] if events else None, header.get("event_id"))

    def _target(self, dsn: object) -> Target:
        targets = self._targets()
        for target in targets:
            if target.dsn == dsn:  # as it is nearly always: to parse one takes 10 microseconds
                return target
        try:
            asked = Target.of(dsn) if isinstance(dsn, str) else None
        except ValueError:
            asked = None
        for target in targets:
            if asked is not None and target.is_same(asked):
                return target
        raise RefusalError(403, "This DSN is not passed on")

    def _targets(self) -> tuple[Target, ...]:
        if self.options.dsns is not None:
            return self.options.dsns
        own = sentry_sdk.get_client().options.get("dsn")
        if not own:
            return ()
        found = self._own
        if found is None or found.dsn != own:
            found = self._own = Target.of(own)
        return (found,)

    def mirror(self, envelope: Opened, request: TunnelRequest, user_id: Id) -> None:
        """Mirror its event. Raises no `Exception`: it goes to Sentry whatever happens here."""
        try:
            mirror = _mirror()
            if mirror is None or envelope.event is None:
                return
            parsed = json.loads(envelope.event)
            if not isinstance(parsed, dict):
                return
            if envelope.event_id is not None:
                parsed["event_id"] = envelope.event_id
            agent = request.headers.get("user-agent", "")
            parsed = completed(parsed, request.address, agent)
            if self.options.user_id is not None:
                user = parsed.get("user")
                parsed["user"] = {**(user if isinstance(user, dict) else {}), "id": _text(user_id)}
            anonymous_id = anonymous_id_from(request.headers.get("cookie"))
            mirror.mirror_browsers(parsed, envelope.target.dsn, anonymous_id)
        except Exception as error:  # noqa: BLE001 - logged
            self._log.warn("mirror", f"A browser's event was not mirrored: {describe(error)}")

    def failed(self, error: Exception) -> None:
        """Count and log that the application's function did not tell who it is."""
        mirror = _mirror()
        if mirror is not None:
            mirror.drop("before_track", f"user_id raised {describe(error)}")

    def forward(self, target: Target, body: bytes, request: TunnelRequest) -> Answer:
        """Pass the body on. Takes as long as Sentry does; never raises an `Exception`."""
        headers = {
            name: _NO_TEXT.sub("", request.headers[name]).strip().encode("latin-1", "replace")
            for name in _PASSED_ON
            if name in request.headers
        }
        headers["accept-encoding"] = b"identity"
        if request.address is not None:
            headers["x-forwarded-for"] = request.address.encode()
        forwarder = self._forwarders.get(target.url)
        if forwarder is None:
            network = NetworkOptions.from_sentry(sentry_sdk.get_client().options)
            made = Forwarder(network, target.url, self.options.timeout)
            forwarder = self._forwarders.setdefault(target.url, made)
        return forwarder.post(body, headers)

    def completed(self, answer: Answer, headers: Mapping[str, str]) -> Answer:
        """The answer, as a page of an allowed origin may read it."""
        if self.options.allowed_origins is None or "origin" not in headers:
            return answer
        origin = headers["origin"]
        if origin.lower() not in self.options.allowed_origins:
            return answer
        shared = [
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", _SEEN_BY_BROWSERS),
            ("vary", "Origin"),
        ]
        return Answer(answer.status, [*answer.headers, *shared], answer.body)


def _text(user_id: object) -> object:
    """The id as an event has it. A key of Django's may be a UUID, or a proxy of a text."""
    return user_id if user_id is None or type(user_id) in (str, int) else str(user_id)


def _mirror() -> Any:
    """That of the active client's integration; `None` where it has none."""
    client = sentry_sdk.get_client()
    integration = client.get_integration(SegmentIntegration)
    return None if integration is None else integration.mirror_of(client)
