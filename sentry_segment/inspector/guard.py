"""Keeps other web pages away from the inspector, and scripts out of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentry_segment.options import is_loopback

FOR_SENDERS = re.compile(r"/v1/.|/api/[^/]+/envelope/|/stream$")
"""The paths that pages of other origins may use, too: they take something, and tell nothing."""

HEADERS = {
    # Everything comes from here. Messages are written by strangers: were one taken for HTML by
    # mistake, its script would still not run.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Asked about each request before the application is.

    A page of another origin could have the browser post here, and, under a name of its own that
    leads to 127.0.0.1 (DNS rebinding), even read what is here. Browsers name the page's origin in
    `Origin`, and the name in `Host`. An address is no name, and leads nowhere else.

    Pages of this machine, and of the `origins`, may send what the SDKs of browsers send.
    """

    def __init__(
        self, app: ASGIApp, names: Iterable[str] = (), origins: Iterable[str] = ()
    ) -> None:
        self._app = app
        self._names = frozenset(names)
        """The host names that may be in `Host` besides those of this machine."""
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        own = dict(HEADERS)
        name = _hostname(f"//{host}")
        app = self._app
        if name is None or not self._is_ours(name):
            app = _text(f"The inspector has another name than {host}: see --allow-host.", 421)
        elif origin is not None and _host_and_port(origin) != host:
            if not FOR_SENDERS.match(scope["path"]):
                app = _text("Not for pages of other origins.", 403)
            elif not self._is_allowed(origin):
                app = _text(f"Not for pages of {origin}: see --allow-origin.", 403)
            else:
                own.update(_for_page(origin))
                if scope["method"] == "OPTIONS":
                    app = _preflight(headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(own)
            await send(message)

        with suppress(ClientDisconnect):  # who has gone away needs no answer
            await app(scope, receive, send_with_headers)

    def _is_ours(self, name: str) -> bool:
        return is_loopback(name) or name in self._names or _is_address(name)

    def _is_allowed(self, origin: str) -> bool:
        return origin.lower() in self._origins or is_loopback(_hostname(origin) or "")


def _for_page(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def _preflight(asked: Headers) -> Response:
    """A browser's question before a request with more than the simplest of headers."""
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": asked.get("access-control-request-headers", ""),
        "Access-Control-Max-Age": "600",
    }
    if "access-control-request-private-network" in asked:  # from a page on the public internet
        allowed["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=allowed)


def _text(text: str, status: int) -> Response:
    return PlainTextResponse(text, status)


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _host_and_port(origin: str) -> str:
    """Of an origin, as they are in `Host`; of "null", nothing."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
