"""Hostile events, exceptions, envelopes and messages, through the public surface.

Each is captured twice: by a client with the integration and by one without it. Sentry is to get
the same from both, whatever the mirror makes of it, and Segment only what it can read.
"""

from __future__ import annotations

import builtins
import itertools
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sentry_sdk.envelope import Envelope, Item, PayloadRef

from hostile import (
    HOSTILE,
    ODD,
    PLACES,
    Hostile,
    HostileError,
    HostileText,
    TrapError,
    build,
    capturing,
    cycle,
    event_with,
    fields,
    junk,
    nested,
    raising,
    users,
)
from support import many
from twins import Pair, assert_counted


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
