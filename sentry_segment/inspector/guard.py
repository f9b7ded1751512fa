"""Keeps other web pages away from the inspector, and scripts out of its own."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

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
    `Origin`, and the name in `Host`.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str] | None = LOOPBACK_NAMES) -> None:
        self._app = app
        self._names = names
        """The host names that may be in `Host`; `None` for any."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._names is not None and _hostname(f"//{host}") not in self._names:
            app: ASGIApp = PlainTextResponse(f"The inspector has another name than {host}", 421)
        elif origin is not None and _host_and_port(origin) != host:
            app = PlainTextResponse("Not for pages of other origins", 403)
        else:
            app = self._app

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        with suppress(ClientDisconnect):  # who has gone away needs no answer
            await app(scope, receive, send_with_headers)


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _host_and_port(origin: str) -> str:
    """Of an origin, as they are in `Host`; of "null", nothing."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
