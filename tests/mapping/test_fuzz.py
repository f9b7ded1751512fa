"""Hostile events, exceptions, envelopes and messages, through the public surface.

Each is captured twice: by a client with the integration and by one without it. Sentry is to get
the same from both, whatever the mirror makes of it, and Segment only what it can read.
"""

from __future__ import annotations

import builtins
import enum
import itertools
import json
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import pytest
import sentry_sdk
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sentry_sdk.envelope import Envelope, Item, PayloadRef
from sentry_sdk.transport import Transport

from collector import Collector
from sentry_segment import SegmentIntegration
from support import Init, capture, many

T = TypeVar("T", bound=type)


def fuzz(examples: int) -> settings:
    return settings(
        max_examples=many(examples),
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # to shrink takes minutes, and the trees are small as they are
        # One collector and one init for all examples: they do not disturb one another.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# What is hostile


class TrapError(Exception):
    """What all the hostile methods raise."""


def raising(*names: str) -> Callable[[T], T]:
    """A class decorator: the methods of these names raise."""

    def trap(*args: object, **kwargs: object) -> NoReturn:
        raise TrapError

    def decorate(cls: T) -> T:
        for name in names:
            setattr(cls, name, trap)
        return cls

    return decorate


ASKED = ("__str__", "__repr__", "__eq__", "__ne__", "__bool__", "__len__", "__iter__", "__format__")
COPIED = ("__deepcopy__", "__copy__", "__reduce_ex__")
COMPARED = ("__lt__", "__le__", "__gt__", "__ge__", "__contains__", "__getitem__")
TEXTS = ("strip", "upper", "lower", "encode", "partition", "removeprefix", "endswith", "isascii")
MAPPINGS = ("get", "items", "keys", "values", "pop", "setdefault", "update", "copy")


@raising(*ASKED, *COPIED, *COMPARED, "__hash__", "__call__", "__getattr__")
class Hostile:
    pass


@raising(*ASKED, *COPIED, *COMPARED)
class HostileKey:
    def __hash__(self) -> int:
        return 2**40 + 1  # that of no other key: to be compared is to raise


class Impostor:
    """Says that it has no class, as an unbound proxy of a web framework's does."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise TrapError


@raising(*ASKED, *COPIED, *COMPARED, *TEXTS, "__hash__")
class HostileText(str):
    pass


@raising(*ASKED, *COPIED, *COMPARED, *MAPPINGS)
class HostileMapping(dict[Any, Any]):
    pass


@raising(*ASKED, *COPIED, *COMPARED, "append", "copy", "__reversed__")
class HostileList(list[Any]):
    pass


@raising(*ASKED, *COPIED, *COMPARED, "__hash__", "__abs__", "__int__", "__index__", "__neg__")
class HostileNumber(int):
    pass


@raising(*COPIED, *COMPARED, "astimezone", "replace", "strftime", "isoformat", "utcoffset")
class HostileMoment(datetime):
    pass


class Colour(enum.IntEnum):
    RED = 1


class Name(str, enum.Enum):
    SHOP = "shop"


def nested(depth: int, kind: type) -> Any:
    value: Any = "the innermost"
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def cycle(kind: type) -> Any:
    if kind is list:
        circle: list[Any] = ["u1"]
        circle.append(circle)
        return circle
    # In itself once: the SDK's serializer loses its way where it is more, and does not end.
    round_trip: dict[str, Any] = {"id": "u1"}
    round_trip["values"] = [round_trip]
    return round_trip


# Functions: each of the two clients gets a value of its own.
# Of these, methods raise that nobody expects to.
HOSTILE: list[Callable[[], Any]] = [
    Hostile,
    HostileKey,
    Impostor,
    lambda: HostileText("http://shop.example/cart"),
    lambda: HostileMapping(id="u1", values=[{"type": "KeyError"}], url="/cart"),
    lambda: HostileList([["id", "u1"], {"type": "KeyError"}]),
    lambda: HostileNumber(40),
    lambda: HostileMoment(2026, 11, 23, tzinfo=timezone.utc),
    lambda: (("id", "u1"), ("a", Hostile())),
    lambda: Hostile.__init__,
    lambda: {None: "a", 1: {}, (1, 2): [], HostileKey(): 5, b"id": "u1", 1.5: ""},
    lambda: {HostileKey(): HostileKey()},
    lambda: {"id": Hostile(), "url": Hostile(), "type": Hostile(), "environment": Hostile()},
    lambda: {"environment": HostileText("production"), "REMOTE_ADDR": HostileText("10.0.0.1")},
    lambda: [["User-Agent", Hostile()], ["Referer", HostileText("/")], [HostileText("Referer"), 1]],
]
ODD: list[Callable[[], Any]] = [
    *HOSTILE,
    lambda: Colour.RED,
    lambda: Name.SHOP,
    lambda: UUID(int=7),
    lambda: Decimal("NaN"),
    lambda: ValueError("a value"),
    lambda: b"\xff\x00",
    lambda: bytearray(b"u1"),
    lambda: {1, 2},
    lambda: frozenset(),
    lambda: (part for part in ("u1", "u2")),
    lambda: iter([]),
    lambda: print,
    lambda: nested(90, list),
    lambda: nested(800, list),
    lambda: nested(800, dict),
    lambda: cycle(list),
    lambda: cycle(dict),
    lambda: "x" * 1_200_000,
    lambda: "\udfff€\x00" * 11_000,
    lambda: ["long"] * 3_000,
    lambda: {str(number): "long" for number in range(3_000)},
    lambda: "/../" * 20_000,
    lambda: "http://" + "a." * 20_000 + "example/?" + "%" * 20_000,
    lambda: 0,
    lambda: 10**5_000,
    lambda: -(2**64),
    lambda: 2**53,
    lambda: float("nan"),
    lambda: float("inf"),
    lambda: -float("inf"),
    lambda: -0.0,
    lambda: 1e308,
    lambda: datetime.min,
    lambda: datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
    lambda: date.min,
    lambda: "\ud800",
    lambda: "u\x00\x1f\x7f\x85\u2028\ufeff",
    lambda: "[Filtered]",
    lambda: "  ",
    lambda: "0x1F" * 8,
    lambda: "http://[::1/\ud800?\udfff#",
    lambda: "//\\\\@:99999999999999999999/..",
    lambda: "9999-12-31T23:59:59.999999999-23:59",
    lambda: "1" * 32,
]

# Trees of containers whose leaves are values, or functions that make them.
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=8),  # with lone surrogates
    st.sampled_from(ODD),
    st.sampled_from(ODD),
)
keys = st.one_of(
    st.text(st.characters(), max_size=4),
    st.sampled_from(["id", "values", "type", "value", "environment", "url", "Referer"]),
    st.sampled_from([None, 1, 1.5, b"id", (1,), float("nan"), Colour.RED, Name.SHOP]),
)
containers = st.one_of(
    st.lists(leaves, max_size=3),
    st.tuples(leaves, leaves),
    st.dictionaries(keys, leaves, max_size=3),
    st.lists(st.lists(leaves, max_size=2), max_size=2),
)
junk = st.one_of(leaves, leaves, containers)


def record(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A mapping with some of the fields, or junk in its place."""
    some = st.fixed_dictionaries({}, optional=fields)
    return st.one_of(some, some, some, junk)


texts = st.text(st.characters(), max_size=12)
urls = st.tuples(st.sampled_from(["", "http:", "https://", "HTTP:\\", "ws://u@", "//"]), texts)
pairs = st.lists(st.tuples(st.one_of(texts, junk), junk).map(list), max_size=3)
mappings = st.dictionaries(st.one_of(texts, keys), junk, max_size=3)
headers = st.lists(
    st.tuples(st.sampled_from(["User-Agent", "referer", "REFERER"]), st.one_of(texts, junk)),
    max_size=3,
)
values = record(
    type=st.one_of(texts, junk),
    value=st.one_of(st.just("KeyError: 'a'"), texts, junk),
    module=junk,
    mechanism=junk,
    stacktrace=record(frames=st.one_of(st.lists(record(vars=junk), max_size=2), junk)),
)
value_lists = st.lists(values, max_size=2)
users = record(
    id=st.one_of(st.sampled_from(["u1", 7, 0, "", None, "[Filtered]"]), texts, junk),
    ip_address=st.one_of(st.just("203.0.113.7"), junk),
    email=junk,
    username=junk,
    data=junk,
)
requests = record(
    url=st.one_of(urls.map("".join), texts, junk),
    method=st.one_of(st.just("post"), texts, junk),
    query_string=st.one_of(texts, pairs, mappings, junk),
    headers=st.one_of(headers.map(dict), headers, pairs, mappings, junk),
    env=record(REMOTE_ADDR=st.one_of(st.just("10.0.0.1"), junk)),
    cookies=junk,
    data=junk,
    fragment=junk,
)
FIELDS = {
    "user": users,
    "request": requests,
    "exception": st.one_of(record(values=value_lists), value_lists, values, junk),
    "tags": st.one_of(pairs, mappings, record(environment=st.one_of(texts, junk)), junk),
    "type": st.one_of(st.sampled_from(["error", "feedback", "default"]), junk),
    **{
        name: st.one_of(texts, junk)
        for name in ("event_id", "timestamp", "level", "transaction", "release", "environment")
    },
    **dict.fromkeys(("contexts", "extra", "breadcrumbs", "sdk", "modules", "fingerprint"), junk),
    **dict.fromkeys(("message", "logentry", "logger", "platform", "threads", "spans"), junk),
    "_meta": junk,
}
fields = st.fixed_dictionaries({}, optional=FIELDS)

# Every known place of an event that is worth a look, as the keys that lead to it.
PLACES: list[tuple[Any, ...]] = [
    (),
    *((name,) for name in FIELDS),
    *(("user", name) for name in ("id", "ip_address", "email")),
    *(("request", name) for name in ("url", "method", "query_string", "headers", "env", "data")),
    ("request", "headers", "Referer"),
    ("request", "env", "REMOTE_ADDR"),
    ("request", "query_string", "a"),
    ("exception", "values"),
    ("exception", "values", 0),
    ("exception", "values", 0, "type"),
    ("exception", "values", 0, "value"),
    ("tags", "environment"),
    ("contexts", "trace"),
    ("breadcrumbs", "values"),
]


def build(tree: Any) -> Any:
    """A value for a tree: new containers, and the leaves' functions called."""
    if type(tree) is dict:
        return {key: build(part) for key, part in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(build(part) for part in tree)
    return tree() if any(tree is function for function in ODD) else tree


def capturing(tree: Any) -> Callable[[Any], object]:
    """A function that captures, each time it is called, an event built of the tree."""
    return lambda client: sentry_sdk.capture_event(build(tree))


def event_with(number: int, **parts: Any) -> dict[str, Any]:
    """A qualifying event, with an id by its number, in which some parts are others."""
    for name in ("event_id", "timestamp"):
        if parts.get(name, ...) is None:
            del parts[name]  # the SDK would fill it in, for each client with another value
    return {
        "event_id": f"{number:032x}",
        "timestamp": "2026-11-23T04:35:46.632211Z",
        "exception": {"values": [{"type": "KeyError", "value": "'cart'"}]},
        "user": {"id": "u1"},
        **parts,
    }


# The two clients


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


@pytest.fixture
def pair(collector: Collector, init: Init) -> Iterator[Pair]:
    pair = Pair(collector, init)
    yield pair
    pair.assert_settled()
    pair.assert_identified()
    pair.plain.close(timeout=0.0)


@pytest.fixture
def hooked(collector: Collector, init: Init) -> Iterator[Pair]:
    """With both hooks: `edit_message` is the one, and the other raises."""
    told: list[Any] = []
    edit_message: list[Callable[[Any], Any]] = [lambda message: message]

    def on_error(error: Exception, messages: list[Any]) -> NoReturn:
        told.extend(messages)
        raise HostileError

    pair = Pair(
        collector,
        init,
        before_track=lambda message, event: edit_message[0](message),
        on_error=on_error,
    )
    pair.edit_message = edit_message
    yield pair
    edit_message[0] = lambda message: message
    pair.assert_settled()
    assert told
    pair.plain.close(timeout=0.0)


# Events


@fuzz(500)
@given(event=fields, later=fields, user=users)
def test_a_hostile_event_is_mirrored_as_sentry_gets_it(
    pair: Pair, event: Any, later: Any, user: Any
) -> None:
    """Hostile before the SDK's serializer: in the event, of an event processor, in the scope."""

    def by_a_processor(client: Any) -> object:
        with sentry_sdk.new_scope() as scope:
            scope.set_client(client)
            scope.set_user(build(user))
            scope.add_event_processor(lambda event, hint: {**event, **build(later)})
            return capturing(bare)(client)

    numbered, bare = event_with(next(pair.numbers), **event), event_with(next(pair.numbers))
    for function in (capturing(numbered), by_a_processor):
        sent, messages = pair.capture(function)
        assert_counted(sent, messages)


@fuzz(500)
@given(event=fields, junk=junk)
def test_what_before_send_swaps_into_an_event_does_not_keep_it_from_sentry(
    pair: Pair, event: Any, junk: Any
) -> None:
    """Hostile behind the serializer: so it reaches the transport."""
    for edit in (lambda sent: {**sent, **build(event)}, lambda sent: build(junk)):
        pair.edit = edit
        numbered = event_with(next(pair.numbers))
        sent, messages = pair.capture(capturing(numbered))
        assert_counted(sent, messages)


@fuzz(500)
@given(event=fields, junk=junk)
def test_a_hostile_envelope_is_handed_on_by_the_transport(
    pair: Pair, event: Any, junk: Any
) -> None:
    def hand_over(client: Any, event: Any) -> None:
        envelope = Envelope(headers={"event_id": "an id"})
        envelope.add_item(Item(payload=PayloadRef(json=event), type="event"))
        client.transport.capture_envelope(envelope)

    numbered = event_with(next(pair.numbers), **event)
    sent, messages = pair.capture(lambda client: hand_over(client, build(numbered)))
    assert_counted(sent, messages)
    _, messages = pair.capture(lambda client: hand_over(client, build(junk)))
    assert messages <= 1


@pytest.mark.parametrize("way", ["capture_event", "before_send"])
def test_any_odd_value_at_any_place_leaves_the_others_mirrored(pair: Pair, way: str) -> None:
    # An event that is odd as a whole has no id to know it by, before the SDK gives it one.
    places = PLACES[1:] if way == "capture_event" else PLACES
    cases = list(itertools.product(places, ODD))
    for place, make in random.Random(1).sample(cases, many(len(cases))):
        number = next(pair.numbers)
        faults = pair.integration.stats.dropped["internal_sdk_error"]
        sent, messages = pair.capture(at_place(pair, way, number, place, make))
        assert_counted(sent, messages)
        mirrored = pair.integration.stats.dropped["internal_sdk_error"] == faults
        assert mirrored or make in HOSTILE
        if messages and mirrored and place not in [(), ("event_id",), ("user",), ("user", "id")]:
            pair.expected.add(f"{number:032x}")


def at_place(
    pair: Pair, way: str, number: int, place: tuple[Any, ...], make: Callable[[], Any]
) -> Callable[[Any], object]:
    if way == "before_send":
        pair.edit = lambda event: placed(event, place, make)
        return capturing(full_event(number))
    return lambda client: sentry_sdk.capture_event(placed(full_event(number), place, make))


def full_event(number: int) -> dict[str, Any]:
    return event_with(
        number,
        user={"id": "u1", "ip_address": "203.0.113.7"},
        request={
            "url": "http://shop.example/cart",
            "query_string": {"a": "b"},
            "headers": {"Referer": "/"},
            "env": {"REMOTE_ADDR": "10.0.0.1"},
        },
        tags={"environment": "production"},
        contexts={"trace": {"trace_id": "1" * 32, "span_id": "1" * 16}},
        breadcrumbs={"values": []},
    )


def placed(event: Any, place: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """The event with a value at a place."""
    if not place:
        return make()
    target = event
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = make()
    return event


# Exceptions


class Unspeakable(type):
    """A class that does not tell its name."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise TrapError


class UnspeakableError(Exception, metaclass=Unspeakable):
    pass


@raising("__str__", "__repr__", "__eq__", "__hash__", "__bool__", "__len__", "__iter__")
class HostileError(Exception):
    pass


@raising("__getattr__", "__format__", "__reduce_ex__")
class EvasiveError(Exception):
    __slots__ = ()


class LongTextError(Exception):
    def __str__(self) -> str:
        return "\ud800" * 100_000


class NoTextError(Exception):
    def __str__(self) -> Any:
        return Hostile()


class NotedError(Exception):
    def __init__(self) -> None:
        self.__notes__ = [HostileText("a"), "\ud800"]


class HomelessError(Exception):
    __module__ = 5  # type: ignore[assignment]
    __qualname__ = "\u2028" * 1_000


ERRORS: list[Callable[[], BaseException]] = [
    UnspeakableError,
    HostileError,
    EvasiveError,
    LongTextError,
    NoTextError,
    NotedError,
    HomelessError,
    lambda: type("E" * 100_000, (Exception,), {})("a"),
    lambda: type("", (Exception,), {"__module__": "\n"})(),
    lambda: KeyError(Hostile()),
    lambda: ValueError("x" * 1_000_000, b"\xff", 10**5_000, float("nan")),
    lambda: OSError(Hostile(), HostileText("a"), 5),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "\ud800"),
    lambda: SyntaxError("a", ("\x00", -1, 10**9, "\ud800")),
    lambda: StopIteration(nested(800, list)),
    lambda: KeyboardInterrupt(),
    lambda: SystemExit(Hostile()),
    lambda: GeneratorExit(cycle(dict)),
]


def chained(makers: list[Callable[[], BaseException]], links: str) -> BaseException:
    """Exceptions linked to one another; the last one, in a circle, with the first."""
    errors = [make() for make in makers]
    for error, following in zip(errors, [*errors[1:], errors[0]], strict=True):
        if links == "cause":
            error.__cause__ = following
        elif links == "context":
            error.__context__ = following
    if links == "group" and sys.version_info >= (3, 11):
        make_group: Any = vars(builtins)["BaseExceptionGroup"]
        group: BaseException = make_group("\ud800", errors)
        for _ in range(30):
            group = make_group("around", [group])
        return group
    return errors[0]


@fuzz(400)
@given(
    makers=st.lists(st.sampled_from(ERRORS), min_size=1, max_size=3),
    links=st.sampled_from(["none", "cause", "context", "group"]),
    user=users,
    local=junk,
)
def test_a_hostile_exception_is_captured_as_without_the_mirror(
    pair: Pair, makers: list[Callable[[], BaseException]], links: str, user: Any, local: Any
) -> None:
    number = next(pair.numbers)

    def same(event: Any, hint: Any) -> Any:
        fixed = event_with(number)
        return {**event, "event_id": fixed["event_id"], "timestamp": fixed["timestamp"]}

    def raised(kept: Any) -> bool:
        try:
            raise chained(makers, links)
        except BaseException as error:
            return sentry_sdk.capture_exception(error) is None

    def function(client: Any) -> bool:
        with sentry_sdk.new_scope() as scope:
            scope.set_client(client)
            scope.add_event_processor(same)
            scope.set_user(build(user))
            return raised(build(local))

    sent, messages = pair.capture(function)
    assert_counted(sent, messages)


# Messages


MESSAGES: list[Callable[[Any], Any]] = [
    *(lambda message, make=make: {**message, "properties": {"a": make()}} for make in ODD),
    *(lambda message, make=make: {**message, "context": make()} for make in ODD),
    *(lambda message, make=make: {**message, "timestamp": make(), "event": make()} for make in ODD),
    *(lambda message, make=make: make() for make in ODD),
    lambda message: {**message, None: "a", 1: 2, False: [], 1.5: {}},
    lambda message: {**message, float("nan"): "a"},
    lambda message: {**message, (1, 2): "a"},
    lambda message: {**message, "properties": message},
    lambda message: message["properties"].update(message=message) or message,
    lambda message: message.clear() or message,
    lambda message: {**message, "properties": {"k" * 40_000: "a"}},
    lambda message: {**message, "properties": {"a": ["\x1f" * 60] * 4_000}},
    lambda message: message.nothing,
    lambda message: (_ for _ in ()).throw(HostileError()),
    lambda message: (_ for _ in ()).throw(UnspeakableError()),
]


@fuzz(500)
@given(edits=st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=4), event=fields)
def test_a_hostile_message_from_the_hook_is_delivered_or_dropped(
    hooked: Pair, edits: list[Callable[[Any], Any]], event: Any
) -> None:
    for edit in edits:
        hooked.edit_message[0] = edit
        numbered = event_with(next(hooked.numbers), **event)
        sent, messages = hooked.capture(capturing(numbered))
        assert_counted(sent, messages)
