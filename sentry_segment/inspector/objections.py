"""What Segment would object to in a request or a message. Pure functions.

Where a comment names no other source, the rule is in
https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal

from sentry_segment.mapping.odd_ids import type_shown
from sentry_segment.wire.bodies import MAX_BATCH_MESSAGES

# "32 KB" and "500 KB" in the larger reading, which is refused for certain. What the integration
# sends is held to the smaller.
MAX_MESSAGE_BYTES = 32 * 1024
MAX_REQUEST_BYTES = 500 * 1024
MAX_ID_LENGTH = 100  # characters; `messageId` must have fewer
JSON_TYPE = "application/json"
MAX_AHEAD = timedelta(minutes=5)  # our own choice: no clock should be that wrong

KINDS = frozenset({"track", "identify", "page", "screen", "group", "alias"})
BROWSERS = {name[0]: name for name in ("batch", *sorted(KINDS))}
"""The paths of Segment's library for browsers: "t" for "track" and so on."""
_OBJECTS = ("properties", "traits", "context", "integrations")


Rank = Literal["drops", "changes", "advice"]


class Told(str):
    """An objection in words, and what comes of it at Segment."""

    rank: Rank = "advice"


class Objection(Enum):
    """What can be objected to, with `{}` for a detail of it."""

    # Refused: nothing of the request reaches the source.
    NO_WRITE_KEY = (
        "no write key: it goes into the Authorization header, as the user name of Basic "
        "authentication with an empty password, or into the body as writeKey"
    )
    UNREADABLE = "the body can't be read: {}"
    NOT_JSON = "the body is no JSON object: {}"
    NO_BATCH = "batch is no list"
    REQUEST_TOO_LONG = "the request has {} bytes, over the 500 KB that Segment takes"
    MESSAGE_TOO_LONG = "the message has {} bytes, over the 32 KB that Segment takes"
    REFUSED_TOGETHER = "another message of the batch is too long: the whole batch is refused"

    # Answered 200, and dropped afterwards.
    TOO_MANY = "the batch has {} messages, and those of a batch of over 2,500 are dropped"
    NO_OBJECT = "the message is no JSON object"
    NO_USER = "there is neither userId nor anonymousId"
    NO_TYPE = "no type, or none that Segment knows: {}"
    NO_EVENT = "a track call without the name of an event"
    REPEATED = "a message with this messageId was taken before: a repeat is dropped"

    # Answered 200, and mended afterwards.
    OTHER_TYPE = "type is {}, which this path is not for"
    NO_TEXT = "{} is no text"
    NOT_AN_OBJECT = "{} is no object"
    BAD_TIMESTAMP = "{} is no ISO 8601 date with a time zone"

    # Taken as it is.
    EMPTY_BATCH = "the batch is empty"
    SHOWN_ID = "userId is a {} as Python shows it: pass str(user.id) to sentry_sdk.set_user"
    LONG_MESSAGE_ID = "messageId has {} characters, and must have fewer than 100"
    AHEAD = "timestamp is {} ahead"
    NO_SENT_AT = "no sentAt: Segment can't correct a clock that is wrong"
    NO_JSON_TYPE = "Content-Type is {}, and must be application/json"

    @property
    def rank(self) -> Rank:
        """What Segment does with a message of which this is said."""
        place = _ORDER.index(self)
        if place <= _ORDER.index(Objection.REPEATED):
            return "drops"
        return "changes" if place <= _ORDER.index(Objection.BAD_TIMESTAMP) else "advice"

    def text(self, detail: object = "") -> Told:
        """In words, for people."""
        told = Told(self.value.format(_short(detail)))
        told.rank = self.rank
        return told


_ORDER = list(Objection)


def to_request(content_type: str, body: dict[str, Any]) -> Iterator[Told]:
    """The objections to a request, which hold for all of its messages."""
    if content_type.partition(";")[0].strip().lower() != JSON_TYPE:
        yield Objection.NO_JSON_TYPE.text(content_type or "missing")
    if "sentAt" not in body:
        # https://segment.com/docs/connections/spec/common/#sentat
        yield Objection.NO_SENT_AT.text()
    elif _date(body["sentAt"]) is None:
        yield Objection.BAD_TIMESTAMP.text("sentAt")


def to_batch(batch: list[Any]) -> Iterator[Told]:
    """The objections to a batch, which hold for all of its messages."""
    if not batch:
        yield Objection.EMPTY_BATCH.text()
    if len(batch) > MAX_BATCH_MESSAGES:
        yield Objection.TOO_MANY.text(f"{len(batch):,}")


def to_message(
    message: Any, path: str, sent_at: object, now: datetime, repeated: bool = False
) -> Iterator[Told]:
    """The objections to a message that came in a request to this path ("track", "batch").

    `repeated`: whether one with the same `messageId` was taken before.
    """
    if not isinstance(message, dict):
        yield Objection.NO_OBJECT.text()
        return
    yield from _to_type(message, path)
    if not _is_id(message.get("userId")) and not _is_id(message.get("anonymousId")):
        yield Objection.NO_USER.text()
    shown = type_shown(f'"userId":{json.dumps(message.get("userId"))}'.encode())
    if shown is not None:
        yield Objection.SHOWN_ID.text(shown)
    for name in ("userId", "anonymousId", "messageId"):
        # https://segment.com/docs/connections/spec/common/#structure
        if message.get(name) is not None and not isinstance(message[name], str):
            yield Objection.NO_TEXT.text(name)
    for name in _OBJECTS:
        if message.get(name) is not None and not isinstance(message[name], dict):
            yield Objection.NOT_AN_OBJECT.text(name)
    yield from _to_message_id(message.get("messageId"), repeated)
    yield from _to_timestamp(message.get("timestamp"), sent_at, now)


def kind_of(message: Any, path: str) -> str:
    """The kind of call that a message makes: its type in a batch, else the path's."""
    if path != "batch":
        return path
    kind = message.get("type") if isinstance(message, dict) else None
    return kind if isinstance(kind, str) and kind in KINDS else "?"


def _to_type(message: dict[str, Any], path: str) -> Iterator[Told]:
    kind = message.get("type")
    if path == "batch" and kind_of(message, path) == "?":
        yield Objection.NO_TYPE.text("missing" if kind is None else kind)
    elif path != "batch" and kind not in (None, path):
        yield Objection.OTHER_TYPE.text(kind)
    event = message.get("event")
    if kind_of(message, path) == "track" and not (isinstance(event, str) and event):
        yield Objection.NO_EVENT.text()


def _to_message_id(message_id: object, repeated: bool) -> Iterator[Told]:
    if isinstance(message_id, str) and len(message_id) >= MAX_ID_LENGTH:
        yield Objection.LONG_MESSAGE_ID.text(f"{len(message_id):,}")
    if repeated:
        # https://segment.com/docs/guides/duplicate-data/
        yield Objection.REPEATED.text()


def _to_timestamp(timestamp: object, sent_at: object, now: datetime) -> Iterator[Told]:
    # https://segment.com/docs/connections/spec/common/#timestamps
    if timestamp is None or timestamp == "":
        return  # Segment fills it in
    date = _date(timestamp)
    if date is None:
        yield Objection.BAD_TIMESTAMP.text("timestamp")
        return
    # Segment takes `sentAt` for the present by the sender's clock, and corrects by that.
    ahead = date - (_date(sent_at) or now)
    if ahead > MAX_AHEAD:
        yield Objection.AHEAD.text(timedelta(seconds=round(ahead.total_seconds())))


def _is_id(value: object) -> bool:
    return value is not None and value != ""


_DATE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d)?(?:[.,]\d+)?(?:Z|([+-]\d\d):?(\d\d)?)", re.ASCII
)


def _date(value: object) -> datetime | None:
    """To the second; `None` where it is no date, or one without a zone."""
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    minute, second, zone_hours, zone_minutes = match.groups()
    zone = f"{zone_hours or '+00'}:{zone_minutes or '00'}"
    try:
        return datetime.fromisoformat(f"{minute}{second or ':00'}{zone}")
    except ValueError:  # a month 13, say
        return None


def _short(detail: object) -> str:
    text = str(detail)
    return text if len(text) <= 60 else text[:57] + "..."
