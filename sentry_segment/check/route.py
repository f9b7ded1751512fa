"""The way from this machine to the host: directly, or through which proxy."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from sentry_segment.wire.network import NetworkOptions

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True)
class Route:
    """`proxy` is its URL without user and password, `None` for none."""

    host: str
    proxy: str | None
    proxy_variable: str
    """The environment variable that names the proxy, or would."""

    @property
    def is_tls(self) -> bool:
        """Whether certificates are looked at: the host's, or the proxy's."""
        return any(url.startswith("https:") for url in (self.host, self.proxy or ""))

    @property
    def peer(self) -> tuple[str, int]:
        """Name and port that this machine connects to: those of the proxy, where there is one."""
        parts = urlsplit(self.proxy or self.host)
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)

    @property
    def name_to_resolve(self) -> str | None:
        """`None` where the peer is given by its address."""
        name, _ = self.peer
        try:
            ip_address(name)
        except ValueError:
            return name
        return None


def find_route(host: str, network: NetworkOptions) -> Route:
    """The way that an HTTP client takes which could be built for it."""
    proxy = network.proxy_for(host)
    scheme = urlsplit(host).scheme
    variables = [
        variable
        for name in (f"{scheme}_proxy", "http_proxy")
        for variable in (name, name.upper())
        if proxy and os.environ.get(variable, "").rpartition("://")[2] == proxy.partition("://")[2]
    ]
    variable = variables[0] if variables else f"{scheme}_proxy".upper()
    return Route(host, proxy and _without_password(proxy), variable)


def _without_password(proxy: str) -> str:
    parts = urlsplit(proxy)  # which the client has read before
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def resolve(name: str, port: int, seconds: float) -> list[str]:
    """The addresses of a name. Raises `TimeoutError` when the time is over.

    In a thread, for no one can interrupt a look-up; the end of the process does not wait for it.
    """
    found: Future[list[str]] = Future()

    def look_up() -> None:
        try:
            every = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            found.set_result(list(dict.fromkeys(str(each[4][0]) for each in every)))
        except BaseException as error:  # noqa: BLE001 - handed over
            found.set_exception(error)

    threading.Thread(target=look_up, name="sentry-segment look-up", daemon=True).start()
    return found.result(seconds)
