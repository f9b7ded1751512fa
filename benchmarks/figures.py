"""What a measurement hands over to be printed, drawn and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.spread import Spread, short


@dataclass(frozen=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Target:
    """A ratio that is to be reached."""

    name: str
    ratio: Spread
    at_least: float | None = None
    at_most: float | None = None
    label: str = ""
    """Its name in the plot, where the ratio is one against a peer."""

    @property
    def reached(self) -> bool:
        if self.at_least is not None:
            return self.ratio.median >= self.at_least
        assert self.at_most is not None
        return self.ratio.median <= self.at_most

    @property
    def wanted(self) -> str:
        if self.at_least is not None:
            return f"at least {short(self.at_least)}"
        assert self.at_most is not None
        return f"at most {short(self.at_most)}"


@dataclass(frozen=True)
class Line:
    """How a cost grows, or does not: one panel of the plot."""

    title: str
    x: str
    y: str
    points: Mapping[str, Sequence[tuple[float, float]]]
    """By the name of the line."""


@dataclass(frozen=True)
class Figure:
    name: str
    tables: Sequence[Table]
    targets: Sequence[Target] = ()
    lines: Sequence[Line] = ()
    raw: Any = field(default=None)
    """The single measurements, for the JSON file."""


@dataclass(frozen=True)
class Effort:
    """How much is measured: all of it, or so much as shows that everything can be."""

    quick: bool
    say: Callable[[str], None]
    """Shows what is under way."""

    def pick(self, full: int, quick: int) -> int:
        return quick if self.quick else full


def best(values: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    """Of those that were measured, the one with the lowest median."""
    return min(
        (name for name in names if name in values), key=lambda n: Spread.of(values[n]).median
    )
