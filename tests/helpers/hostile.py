"""Hostile values, events and exceptions."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import sentry_sdk
from hypothesis import strategies as st

T = TypeVar("T", bound=type)


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


@raising("__str__", "__repr__", "__eq__", "__hash__", "__bool__", "__len__", "__iter__")
class HostileError(Exception):
    pass
