"""A browser's request to the tunnel, and what of it can be believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sentry_segment.mapping import relay

_ESCAPED = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")


@dataclass(frozen=True)
class TunnelRequest:
    """A request, as `user_id` is given it.

    Attributes:
        headers: by their names in lower case.
        address: the client's IP address; `None` where it is not known.
        scope: ASGI's scope, or WSGI's environ: where the frameworks' middleware leaves its own,
            such as `scope["session"]` of Starlette's.
    """

    headers: Mapping[str, str]
    address: str | None
    scope: Mapping[str, Any]

    @property
    def cookies(self) -> dict[str, str]:
        """The values of the cookies by their names.

        What is no cookie is left out. `http.cookies` would read none of those that come with an odd
        one, such as `filter[size]=3`, and the session's may be among them.
        """
        found = {}
        for pair in self.headers.get("cookie", "").split(";"):
            name, equals, value = pair.partition("=")
            if equals and name.strip():
                found[name.strip()] = _unquoted(value.strip())
        return found


def _unquoted(value: str) -> str:
    """Without the quotes and escapes that `http.cookies` writes."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPED.sub(lambda m: chr(int(m[1], 8)) if m[1] else m[2], value[1:-1])


def client_address(peer: object, forwarded_for: str, trusted_proxies: int) -> str | None:
    """The client's address: the peer's, or behind so many proxies, the one that the first of them
    saw. What stands further left in `X-Forwarded-For` is the client's own word."""
    chain: list[object] = [part.strip() for part in forwarded_for.split(",")]
    chain = [*chain, peer] if trusted_proxies else [peer]
    found = chain[max(len(chain) - 1 - trusted_proxies, 0)]
    return _without_port(found) if isinstance(found, str) else None


def _without_port(address: str) -> str | None:
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        address = address.partition(":")[0]
    return relay.ip_address(address)
