"""Whether Segment received what Sentry's server-side plugin would have sent it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import plugin


def payloads(envelopes: list[bytes]) -> Iterator[bytes]:
    """The events in envelopes, as they came (the SDK writes each item's length)."""
    for envelope in envelopes:
        _, _, rest = envelope.partition(b"\n")
        while rest.strip():
            head, _, rest = rest.partition(b"\n")
            header = json.loads(head)
            payload, rest = rest[: header["length"]], rest[header["length"] + 1 :]
            if header["type"] == "event":
                yield payload


def _as_it_is(event: dict[str, Any]) -> dict[str, Any]:
    return event


def assert_parity(
    sent: list[bytes],
    messages: list[dict[str, Any]],
    started: datetime,
    completed: Callable[[dict[str, Any]], dict[str, Any]] = _as_it_is,
) -> None:
    """Segment has exactly the messages that the plugin would have sent for Sentry's events.

    `completed` adds to a normalised event what Relay's server does, beyond its bindings.
    """
    finished = datetime.now(timezone.utc)
    received = {message["messageId"]: plugin.as_the_plugin(message) for message in messages}
    assert len(received) == len(messages)
    expected = {}
    for payload in sent:
        event = completed(plugin.normalise(payload))
        call = plugin.track_call(event)
        if call is None:
            continue
        message = received.get(call["messageId"])
        if message and not plugin.has_own_timestamp(event, json.loads(payload)):
            # Relay then takes the present time, as the mirror did when the event was captured.
            assert _micro(started) <= message["timestamp"] <= _micro(finished)
            call["timestamp"] = message["timestamp"]
        expected[call["messageId"]] = call
    assert received == expected


def _micro(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
