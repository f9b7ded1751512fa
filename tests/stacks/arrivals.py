"""What arrived at the collector: each error, and what its message says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from collector import Collector
from stacks.processes import PATIENCE

RELEASE = "shop@1.4.2"
"""Of all examples."""


@dataclass(frozen=True)
class Mirrored:
    """What is to be said of one error, in the message of it and in Sentry's event."""

    user: str
    error: str
    """The exception's type."""
    about: str
    """The exception's text, which Sentry alone is sent: it names whose error it is."""
    transaction: str
    release: str = RELEASE


def mirrored(collector: Collector) -> list[Mirrored]:
    """Every message that arrived, with the text of the Sentry event that has its id, sorted.

    So an error that arrived twice is in it twice, and one under a wrong user with that user. What
    the messages say of transaction and release must be what the events say.
    """
    texts = {event["event_id"]: exception(event)["value"] for event in collector.events}
    found = []
    for message in collector.messages:
        said = message["properties"]
        found.append(
            Mirrored(
                user=message["userId"],
                error=said["exceptionType"],
                about=texts[message["messageId"]],
                transaction=said["transaction"],
                release=said["release"],
            )
        )
    return sorted(found, key=str)


def exception(event: dict[str, Any]) -> dict[str, Any]:
    """The last exception value, which is the one that was raised."""
    value: dict[str, Any] = event["exception"]["values"][-1]
    return value


def wait_for_events(collector: Collector, number: int) -> None:
    """Wait until Sentry's side has so many events."""
    arrived = collector.wait_for(lambda: len(collector.events) >= number, PATIENCE)
    assert arrived, f"expected {number} events, got {texts_of(collector.events)}"


def texts_of(events: Sequence[dict[str, Any]]) -> Counter[str]:
    """How often each exception's text is among the events."""
    return Counter(str(exception(event)["value"]) for event in events)
