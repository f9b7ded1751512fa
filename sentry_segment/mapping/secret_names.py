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

    def __contains__(self, name: str) -> bool:
        return (
            name in self.whole
            or any(part in name for part in self.parts)
            or (self.allowed is not None and not any(part in name for part in self.allowed))
        )

    def __bool__(self) -> bool:
        return bool(self.whole or self.parts or self.allowed is not None)


class SecretNames(Container[str]):
    """What is secret to any client: several may have one integration, one after the other."""

    def __init__(self) -> None:
        self._rules: dict[NameRule, None] = {}

    def add(self, rule: NameRule) -> None:
        # In one step, as is the look below: clients are attached while messages are filtered.
        self._rules[rule] = None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(name in rule for rule in tuple(self._rules))

    def __bool__(self) -> bool:
        return any(tuple(self._rules))
