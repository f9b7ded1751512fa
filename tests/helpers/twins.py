"""Two clients that capture the same: one with the integration, and one without it."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from collector import Collector
from sentry_segment import SegmentIntegration
from support import Init, capture


class Recorder(Transport):
    """Keeps what it is handed, as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.taken.append(envelope)


def picture(value: Any) -> list[Any]:
    """All that a tree holds, in a form that compares, made without a call of its methods."""
    shown: list[Any] = []
    seen: set[int] = set()
    rest: list[Any] = [value]
    while rest:
        part = rest.pop()
        kind = type(part)
        shown.append(kind)
        if issubclass(kind, (dict, list, tuple)):
            if id(part) in seen:
                continue
            seen.add(id(part))
            # Of tuple and list the plain iterators, of dict the plain items.
            base = next(base for base in (dict, list, tuple) if issubclass(kind, base))
            inner = list(dict.items(part)) if base is dict else list(base.__iter__(part))
            if base is list:
                # Of the names of the integrations: the one difference that is meant.
                inner = [entry for entry in inner if type(entry) is not str or entry != "segment"]
            shown.append(len(inner))
            for entry in reversed(inner):
                rest.extend(reversed(entry) if base is dict else [entry])
        elif issubclass(kind, str):
            # The repr of many an object has its address in it.
            shown.append(re.sub("0x[0-9a-f]{6,}", "0x", str.__str__(part)))
        elif issubclass(kind, int):
            shown.append(int.__index__(part))
        elif issubclass(kind, float):
            shown.append(float.__repr__(part))
        elif issubclass(kind, (bytes, datetime)):
            shown.append(kind.__hash__(part))
    return shown


def handed_over(envelope: Envelope) -> list[Any]:
    head = {key: part for key, part in envelope.headers.items() if key != "sent_at"}
    items = [[item.headers, item.payload.json, item.payload.bytes] for item in envelope.items]
    return picture([head, items])


def outcome(function: Callable[[], Any]) -> list[Any]:
    """What a call comes to, in a form that compares."""
    try:
        return picture(["returned", function()])
    except Exception as error:
        return ["raised", type(error)]


class Pair:
    """The SDK with the integration and without it, side by side."""

    def __init__(self, collector: Collector, init: Init, **segment: Any) -> None:
        self.collector = collector
        self.numbers = itertools.count(1)
        self.edit: Callable[[Any], Any] = lambda event: event
        self.edit_message: list[Callable[[Any], Any]] = []
        options: dict[str, Any] = {"before_send": lambda event, hint: self.edit(event)}
        others = self.threads()  # a test before this one may have left some that end yet
        self.integration: SegmentIntegration = init(
            segment=segment, transport=Recorder(), **options
        )
        self.mirroring = sentry_sdk.get_client()
        self.plain = sentry_sdk.Client(collector.dsn, transport=Recorder(), **options)
        self.recorders: list[Any] = [self.plain.transport, self.mirroring.transport]
        self.expected: set[str] = set()
        """Ids of events that are to arrive at Segment, beside others."""
        self.deliver_one()  # which attaches the integration, and starts its thread
        [self.thread] = [thread for thread in self.threads() if thread not in others]

    def threads(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "sentry-segment"]

    def deliver_one(self) -> None:
        """An error like any other arrives, whatever came before it."""
        self.edit = lambda event: event
        event_id = capture()
        assert self.integration.flush(60.0)
        assert self.collector.messages[-1]["messageId"] == event_id

    def accounted(self) -> int:
        """Each message once: it waits, or it was delivered or dropped."""
        stats = self.integration.stats
        return stats.queued + stats.delivered + sum(stats.dropped.values())

    def capture(self, function: Callable[[Any], Any]) -> tuple[Any, int]:
        """Call it for both clients; what Sentry got, and how many messages came of it.

        The function is given the client, which is also the current one.
        """
        for recorder in self.recorders:
            recorder.taken.clear()
        before = self.accounted()
        outcomes = []
        with sentry_sdk.new_scope() as scope:
            for client in (self.plain, self.mirroring):
                scope.set_client(client)
                outcomes.append(outcome(lambda client=client: function(client)))  # type: ignore[misc]
            scope.set_client(None)
        assert outcomes[0] == outcomes[1]
        plain, mirrored = (recorder.taken for recorder in self.recorders)
        assert len(plain) == len(mirrored) <= 1
        for one, other in zip(plain, mirrored, strict=True):
            # The differing part alone: the whole may be megabytes.
            parts = itertools.zip_longest(handed_over(one), handed_over(other))
            assert [(part, twin) for part, twin in parts if part != twin] == []
        event = plain[0].get_event() if plain else None
        return event, self.accounted() - before

    def assert_settled(self) -> None:
        """All that was mirrored is accounted for, what arrived is well-formed; it goes on."""
        self.deliver_one()
        assert self.thread in self.threads()
        assert self.thread.is_alive()
        stats = self.integration.stats
        assert stats.queued == 0
        assert stats.retries == 0
        assert stats.delivered == len(self.collector.messages)
        for call in self.collector.calls:
            assert call.status == 200
            assert len(call.body) <= 500_000
            for message in messages_of(call.body):
                assert len(dumped(message)) <= 32_000

    def assert_identified(self) -> None:
        """What arrived says who it is of, and is told from the others."""
        messages = self.collector.messages
        assert self.expected <= {message["messageId"] for message in messages}
        for message in messages:
            assert isinstance(message["userId"], str)
            assert message["userId"] not in ("", "[Filtered]")
            assert re.fullmatch("[0-9a-f]{32}", message["messageId"])
            datetime.strptime(message["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ")


def dumped(message: Any) -> bytes:
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def messages_of(body: bytes) -> list[Any]:
    """The messages of a request's body, read strictly."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    parsed = json.loads(body.decode(), parse_constant=refuse)
    del parsed["sentAt"]
    messages = parsed.get("batch", [parsed])
    assert isinstance(messages, list)
    return messages


def qualifies(event: Any) -> bool | None:
    """Whether an event is to be mirrored; `None` where its odd types leave that open."""
    if type(event) is not dict:
        return None if event is not None else False
    user, exception, kind = event.get("user"), event.get("exception"), event.get("type")
    if kind in ("transaction", "feedback") if type(kind) is str else kind is not None:
        return False if type(kind) is str else None
    if type(exception) is dict and exception:
        exception = exception.get("values", [exception])
    if exception is None or (type(exception) in (dict, list, str) and not exception):
        return False
    if type(exception) is not list:
        return None
    if user is None:
        return False
    if type(user) is not dict:
        return None
    user_id = user.get("id")
    if type(user_id) is str:
        return user_id not in ("", "[Filtered]")
    if type(user_id) is int and abs(user_id) < 2**64:
        return True
    return False if user_id is None or type(user_id) in (dict, list) else None


def assert_counted(event: Any, messages: int) -> None:
    expected = qualifies(event)
    assert messages in ((0, 1) if expected is None else (int(expected),))
