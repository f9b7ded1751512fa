"""A browser's request to the tunnel, and what of it can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from sentry_segment.mapping import relay


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
        """The values of the cookies by their names; none where the header is broken."""
        try:
            parsed = SimpleCookie(self.headers.get("cookie", ""))
        except CookieError:
            return {}
        return {name: each.value for name, each in parsed.items()}


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
