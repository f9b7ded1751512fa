"""A setting of the network, and who gets through with it: Sentry's transport, the mirror."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from collector import Collector
from proxy import Proxy, SocksProxy

USER, PASSWORD = "someone", "hush"


@dataclass(frozen=True)
class Row:
    """A setting, and who gets through with it. Words in braces stand for what a test has."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    sentry: bool = True
    segment: bool = True
    by: str = ""
    """`proxy` or `socks`, where the way of both leads through it."""


@dataclass
class Place:
    """Both servers, what may stand before them, and files."""

    server: Collector
    proxy: Proxy
    socks: SocksProxy
    files: dict[str, str]
    problem: str = ""
    """The mirror's log line, where it does not get through."""

    def fill(self, value: Any) -> Any:
        """A setting, with what the words in braces stand for."""
        if isinstance(value, dict):
            return {name: self.fill(each) for name, each in value.items()}
        if not isinstance(value, str):
            return value
        return value.format(
            **self.files,
            proxy=self.proxy.netloc,
            socks=self.socks.netloc,
            port=self.server.port,
            basic=b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
        )


Try = Callable[[Collector, Row], Place]


def table(*rows: Row) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in rows])


def looked_at(row: Row, place: Place) -> None:
    """Both or none came by each proxy."""
    reached = [name for name in ("sentry", "segment") if getattr(row, name)]
    requests = place.proxy.requests
    by_proxy = [each for each in requests if not place.proxy.authorization or _let_in(each, place)]
    assert len(by_proxy) == (len(reached) if row.by == "proxy" else 0)
    assert len(place.socks.targets) == (len(reached) if row.by == "socks" else 0)


def _let_in(request: Any, place: Place) -> bool:
    return bool(request.headers.get("proxy-authorization") == place.proxy.authorization)
