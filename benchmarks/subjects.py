"""The clients that are measured, all used in the same way.

The peers have their default options, but for the host and the room in their queues. They are
given, as their `track()` takes them, the fields that the mirror has to find in the event first.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import sentry_sdk
from sentry_sdk.transport import Transport

from benchmarks.events import ENVIRONMENT, EVENT_NAME, RELEASE, Sample

MIRROR, SPOOLED = "sentry-segment", "sentry-segment, spool"
IN_REDIS = "sentry-segment, spool in a Redis"
REDIS_VARIABLE = "BENCHMARKS_REDIS"  # where the URL of that is
PEERS = ("segment-analytics-python", "rudder-sdk-python", "posthog")
BARE = "bare httpx loop"
NOTHING = "without a mirror"

WRITE_KEY = "key"
DSN = "http://public@127.0.0.1:9/1"  # never connected to: see Discarding

Call = Callable[[], object]


class Subject(Protocol):
    def start(self, host: str, room: int, ca_certs: str | None = None) -> None:
        """Make the client, with room for so many waiting messages."""

    def ready(self, sample: Sample, fresh: str | None = None) -> Call:
        """The call that hands over an error; once. `fresh` is an id in the place of its own."""

    def flush(self) -> None:
        """Wait until all is delivered."""


class Discarding(Transport):
    """Sentry, out of the way."""

    def capture_envelope(self, envelope: Any) -> None:
        pass


class Nothing:
    """Sentry alone."""

    def start(self, host: str, room: int, ca_certs: str | None = None) -> None:
        self._init([], ca_certs)

    def _init(self, integrations: list[Any], ca_certs: str | None) -> None:
        sentry_sdk.init(
            DSN,
            transport=Discarding,
            integrations=integrations,
            ca_certs=ca_certs,
            release=RELEASE,
            environment=ENVIRONMENT,
        )
        self.client: Any = sentry_sdk.get_client()
        sentry_sdk.capture_message("An event, so that integrations find the client")
        transport: Any = self.client.transport
        self.capture: Callable[[Any], object] = transport.capture_envelope

    def ready(self, sample: Sample, fresh: str | None = None) -> Call:
        if fresh is not None:
            sample.event["event_id"] = fresh
        return partial(self.capture, sample.envelope)

    def flush(self) -> None:
        pass


class Mirror(Nothing):
    """What all this is about."""

    def __init__(self, spool: str | None = None, scrub: bool = True) -> None:
        self._scrub = scrub
        self._spool = spool

    def start(self, host: str, room: int, ca_certs: str | None = None) -> None:
        from sentry_segment import SegmentIntegration

        self.segment = SegmentIntegration(
            WRITE_KEY,
            host=host,
            max_queue_size=room,
            scrub=self._scrub,
            spool=self._spool,
            spool_max_bytes=2_000_000_000,
        )
        self._init([self.segment], ca_certs)

    def flush(self) -> None:
        if not self.segment.flush(600.0):
            raise RuntimeError(f"not all was delivered: {self.segment.stats}")


class Segment:
    """Segment's own client. Not compressed, batches of 100 or what half a second brings."""

    def start(self, host: str, room: int, ca_certs: str | None = None) -> None:
        from segment.analytics.client import Client

        self._client = Client(WRITE_KEY, host=host, max_queue_size=room)

    def ready(self, sample: Sample, fresh: str | None = None) -> Call:
        fields = sample.fields
        # The containers are new each time: the client adds to them.
        return partial(
            self._client.track,
            fields.user_id,
            EVENT_NAME,
            fields.properties | {"eventId": fresh or fields.message_id},
            fields.context | {"page": dict(fields.context["page"])},
            fields.timestamp,
            message_id=fresh or fields.message_id,
        )

    def flush(self) -> None:
        self._client.flush()


class Rudder(Segment):
    """RudderStack's, once made from Segment's. Compressed by default."""

    def start(self, host: str, room: int, ca_certs: str | None = None) -> None:
        from rudderstack.analytics.client import Client

        self._client = Client(WRITE_KEY, host=host, max_queue_size=room)


class PostHog:
    """PostHog's. Not compressed, batches of 100 or what five seconds bring."""

    def start(self, host: str, room: int, ca_certs: str | None = None) -> None:
        from posthog import Posthog

        self._client = Posthog(WRITE_KEY, host=host, max_queue_size=room)

    def ready(self, sample: Sample, fresh: str | None = None) -> Call:
        fields = sample.fields
        # It knows no context: all are properties.
        return partial(
            self._client.capture,
            EVENT_NAME,
            distinct_id=fields.user_id,
            properties={
                **fields.properties,
                **fields.context,
                "eventId": fresh or fields.message_id,
                "page": dict(fields.context["page"]),
            },
            timestamp=fields.timestamp,
            uuid=fresh or fields.message_id,
        )

    def flush(self) -> None:
        self._client.flush(None)


class Bare:
    """No client, but the limit of the parts: encodes finished messages, posts full batches."""

    _MOST = 500_000  # bytes that Segment takes in a request

    def start(self, host: str, room: int, ca_certs: str | None = None) -> None:
        import httpx

        self._batch: list[bytes] = []
        self._size = 0
        self._url = f"{host}/v1/batch"
        credentials = base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        self._client = httpx.Client(headers=headers)

    def ready(self, sample: Sample, fresh: str | None = None) -> Call:
        fields = sample.fields
        library = {"name": "sentry", "version": "0.1.0"}
        message = {
            "type": "track",
            "messageId": fresh or fields.message_id,
            "userId": fields.user_id,
            "event": EVENT_NAME,
            "timestamp": sample.event["timestamp"],
            "properties": fields.properties | {"eventId": fresh or fields.message_id},
            "context": {"library": library, **fields.context},
            "integration": library,
        }
        return partial(self._add, message)

    def _add(self, message: dict[str, Any]) -> None:
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        if self._size + len(body) + 100 > self._MOST:
            self.flush()
        self._batch.append(body)
        self._size += len(body) + 1

    def flush(self) -> None:
        if self._batch:
            sent_at = datetime.now(timezone.utc).isoformat().encode()
            body = b'{"batch":[%s],"sentAt":"%s"}' % (b",".join(self._batch), sent_at)
            self._client.post(self._url, content=body).raise_for_status()
            self._batch, self._size = [], 0


def subject(name: str, folder: str) -> Subject:
    """The client with this name; `folder` is where a spool may be."""
    made: dict[str, Callable[[], Subject]] = {
        NOTHING: Nothing,
        MIRROR: Mirror,
        SPOOLED: lambda: Mirror(str(Path(folder, "spool.db"))),
        IN_REDIS: lambda: Mirror(os.environ[REDIS_VARIABLE]),
        "segment-analytics-python": Segment,
        "rudder-sdk-python": Rudder,
        "posthog": PostHog,
        BARE: Bare,
    }
    return made[name]()
