"""A table of a message's fields, and what is read out of it: for an event, and for its message."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

Secrets = Container[str] | None
"""Names of parameters that are filtered besides those that Relay filters by default, in lower case;
`None`: nothing is filtered."""


@dataclass(slots=True)
class Captured:
    """What the values of fields are found in: an event that is mirrored, and what goes with it."""

    event: dict[str, Any]
    user: dict[str, Any]
    user_id: str
    """`""` for a visitor."""
    exception: object
    """The first exception value."""
    request: Any
    """The mapping, or `None` where the event has no request."""
    event_name: str
    anonymous_id: str = ""
    """`""` where it isn't known, or not asked for."""
    sentry_link: str = ""
    """What a link to the event begins with; `""` for none."""


@dataclass(frozen=True, eq=False)
class Field:
    """One field of a message.

    Where several have one path, the first that has a text counts.
    """

    path: str
    """Where it stands in the message: `context.page.url`."""
    find: str | Callable[[Captured], object]
    """Where its value is found in the event: `release`, `user.ip_address`, `request.url`; with a
    dot before it, in what goes with the event: `.event_name`; or a function that finds it, which
    runs in the midst of the application's work, and should be quick. The value should be a text, as
    a rule: with one of another type, the whole message is made at once, and waits as such."""
    rule: Callable[[Any], str | None]
    """What is sent for that value. `None`: the message does not have the field. It runs in the
    background, as a rule."""
    scrub: Callable[[str, Container[str]], str] | None = None
    """What filters the text, given names of parameters that are filtered besides. `None`: Relay's
    default rules leave the field alone."""
    is_id: bool = False
    """Whether it is never cut."""
    is_short: bool = False
    """Whether it is short whatever the event, and so not counted where long texts are."""

    def __post_init__(self) -> None:
        places = ("", "user") + ("request",) * isinstance(self, RequestField)
        if isinstance(self.find, str) and self.find.rpartition(".")[0] not in places:
            raise ValueError(f"{self.path}: a function is needed to find {self.find}")


class RequestField(Field):
    """A field that messages have where the event has a request."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A text that all messages have."""

    path: str
    text: str


@dataclass(frozen=True, eq=False)
class Copy:
    """The text of another field, once more."""

    path: str
    of: str
    """The other field's path."""


Row = Field | Constant | Copy


class Table:
    """The rows in the order in which a message has them. What they say is worked out once.

    The values found in an event stand in an order of their own: those of its request come last,
    and are left out where there is none. So do the texts made of them.

    `is_suspicious` tells of all the texts that have a filter, joined by `&`, whether a filter may
    change some of them: of most messages' it is not true, and one look at all takes less.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        is_suspicious: Callable[[str, Container[str]], bool] = lambda texts, secrets: True,
    ) -> None:
        self.rows = tuple(rows)
        self._is_suspicious = is_suspicious
        fields = [row for row in self.rows if isinstance(row, Field)]
        fields.sort(key=lambda row: isinstance(row, RequestField))
        self.find = _finder(fields)
        """Finds the values of the fields, as they are in the event."""
        self._rules = tuple(row.rule for row in fields)
        self._scrubs = [(n, row.scrub) for n, row in enumerate(fields) if row.scrub is not None]

        constants = [row for row in self.rows if isinstance(row, Constant)]
        self._constants = [constant.text for constant in constants]
        position = {row: number for number, row in enumerate((*fields, *constants))}
        by_path: dict[str, int] = {}
        self._instead: list[tuple[int, int]] = []  # a text's position, and that of its substitute
        for row in self.rows:
            if not isinstance(row, Copy):
                first = by_path.setdefault(row.path, position[row])
                if first != position[row]:
                    self._instead.append((first, position[row]))
        # By container, with the names in each and the positions of their texts.
        self._containers: list[tuple[list[str], list[tuple[str, int]]]] = []
        for container, rows_in in groupby(self.rows, lambda row: row.path.split(".")[:-1]):
            positions = {
                row.path.rpartition(".")[2]: by_path[row.of if isinstance(row, Copy) else row.path]
                for row in rows_in
            }
            self._containers.append((container, list(positions.items())))

        self.ids = self._names(field.path for field in fields if field.is_id)
        """The names of the fields that are never cut."""
        self.long = frozenset(field.path for field in fields if not field.is_short)
        """The paths of the fields that may be long."""

    def _names(self, paths: Iterable[str]) -> frozenset[str]:
        found = set(paths)
        found |= {row.path for row in self.rows if isinstance(row, Copy) and row.of in found}
        return frozenset(path.rpartition(".")[2] for path in found)

    def texts(self, found: Sequence[Any], secrets: Secrets) -> list[str | None]:
        """What is sent for these values; `None` for a field that the message does not have."""
        texts = [rule(value) for rule, value in zip(self._rules, found, strict=False)]
        texts += [None] * (len(self._rules) - len(texts))
        for position, substitute in self._instead:
            if texts[position] is None:
                texts[position] = texts[substitute]
        if secrets is not None:
            scrubbed = [text for n, _ in self._scrubs if (text := texts[n]) is not None]
            if scrubbed and self._is_suspicious("&".join(scrubbed), secrets):
                for position, scrub in self._scrubs:
                    if (text := texts[position]) is not None:
                        texts[position] = scrub(text, secrets)
        return texts

    def compose(self, texts: Sequence[str | None]) -> dict[str, Any]:
        """The message that has these texts."""
        message: dict[str, Any] = {}
        known = [*texts, *self._constants]
        for containers, names in self._containers:
            here = {name: text for name, place in names if (text := known[place]) is not None}
            if here:
                around = message
                for container in containers:
                    around = around.setdefault(container, {})
                around.update(here)
        return message


def _finder(fields: Iterable[Field]) -> Callable[[Captured], list[Any]]:
    """One function that finds the values of all these fields, of which those of a request are last.

    It is as somebody would have written it by hand: `[captured.event.get("release", ""), ...]`. A
    loop over the fields takes a microsecond more (`scripts/bench calling_thread`).
    """
    always: list[str] = []
    with_request: list[str] = []
    # With the module's name, by which `guest.foreign` knows frames of ours.
    functions: dict[str, Any] = {"__name__": __name__}
    for number, field in enumerate(fields):
        if isinstance(field.find, str) and field.find.startswith("."):
            found = f"captured{field.find}"
        elif isinstance(field.find, str):
            mapping, _, key = f"event.{field.find}".rpartition(".")
            found = f"captured.{mapping.rpartition('.')[2]}.get({key!r}, '')"
        else:
            found = f"find_{number}(captured)"
            functions[f"find_{number}"] = field.find
        (with_request if isinstance(field, RequestField) else always).append(found)
    finder: Callable[[Captured], list[Any]] = eval(
        f"lambda captured: [{', '.join(always)}] if captured.request is None"
        f" else [{', '.join(always + with_request)}]",
        functions,
    )
    return finder
