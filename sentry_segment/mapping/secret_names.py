"""Names of parameters that are filtered besides those that Relay filters: those the SDK filters."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass


@dataclass(frozen=True)
class NameRule:
    """What one client of Sentry's SDK knows as secret. All of it is in lower case."""

    whole: frozenset[str] = frozenset()
    """Names."""
    parts: frozenset[str] = frozenset()
    """What is in a secret name."""
    allowed: frozenset[str] | None = None
    """All names are secret that have none of these in them; `None`: not all are."""

    def covers(self, name: str) -> bool:
        """Whether a name that is none of `whole` is secret."""
        return any(part in name for part in self.parts) or (
            self.allowed is not None and not any(part in name for part in self.allowed)
        )


class SecretNames(Container[str]):
    """What is secret to any client: several may have one integration, one after the other."""

    def __init__(self) -> None:
        self._whole: set[str] = set()
        self._rules: dict[NameRule, None] = {}  # those that have more than whole names

    def add(self, rule: NameRule) -> None:
        # Each in one step, as are the looks below: clients come while messages are filtered.
        self._whole |= rule.whole
        if rule.parts or rule.allowed is not None:
            self._rules[rule] = None

    def __contains__(self, name: object) -> bool:
        if name in self._whole or not self._rules:  # which is quick: it is asked of each parameter
            return name in self._whole
        return isinstance(name, str) and any(rule.covers(name) for rule in tuple(self._rules))

    def __bool__(self) -> bool:
        return bool(self._whole or self._rules)
