"""Medians, and how far the rounds of a measurement lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The middle of several values: their median and quartiles."""

    median: float
    low: float
    """The lower quartile."""
    high: float
    """The upper quartile."""
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))

    def text(self, factor: float = 1.0) -> str:
        """`median (low to high)`, each times the factor."""
        median, low, high = (short(factor * v) for v in (self.median, self.low, self.high))
        return median if self.rounds == 1 else f"{median} ({low} to {high})"


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Round by round, one by the other: the machine's speed in a round is in both, so in neither.

    Where one has fewer rounds, those that both have count.
    """
    return Spread.of([a / b for a, b in zip(above, below, strict=False)])


def percentile(values: Sequence[float], percent: int) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def short(value: float) -> str:
    """About three digits."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 or value == 0 else f"{value:.3g}"
