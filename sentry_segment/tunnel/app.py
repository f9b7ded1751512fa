"""The tunnel, as users see it: an ASGI application, and with `.wsgi` a WSGI one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sentry_segment.tunnel import asgi, wsgi
from sentry_segment.tunnel.core import Core
from sentry_segment.tunnel.options import UserId, checked


class SentryTunnel:
    """Passes on to Sentry what browsers post here, and mirrors their errors to Segment.

        tunnel = SentryTunnel()
        app.add_route("/tunnel", tunnel)       # FastAPI and Starlette: an ASGI application
        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/tunnel": tunnel.wsgi})  # Flask

    and in the browser, `Sentry.init({ dsn: "...", tunnel: "/tunnel" })`. The body goes on
    unchanged, and Sentry's status and rate limits come back. An error that qualifies is mirrored by
    the `SegmentIntegration` of the active Sentry client, by its rules and options.

    Args:
        dsns: whose envelopes are passed on; all others are refused. `None`: that of the active
            Sentry client alone.
        trusted_proxies: how many proxies of yours stand before the application, each of which adds
            an address to `X-Forwarded-For`. With 0 that header is not believed.
        allowed_origins: whose pages may post here, such as `["https://shop.example"]`; `None`: any.
        user_id: `(request) -> id or None`: tells who it is, from the application's own session, in
            the place of what the browser says. `None`: nobody who is logged in. Under ASGI it may
            be asynchronous. `None` in the place of the function: the browser is believed.
        max_body_bytes: of a body, compressed and inflated.
        max_concurrent: how many envelopes may be on their way at once.
        timeout: seconds for the way to Sentry and back, whole.

    Raises:
        TypeError: an option has a value of a wrong type. The error names the option.
        ValueError: an option has a value that is not allowed. The error names the option.
    """

    def __init__(
        self,
        *,
        dsns: Iterable[str] | None = None,
        trusted_proxies: int = 0,
        allowed_origins: Iterable[str] | None = None,
        user_id: UserId | None = None,
        max_body_bytes: int = 1_048_576,
        max_concurrent: int = 100,
        timeout: float = 10.0,
    ) -> None:
        self._core = Core(
            checked(
                dsns,
                trusted_proxies,
                allowed_origins,
                user_id,
                max_body_bytes,
                max_concurrent,
                timeout,
            )
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        await asgi.serve(self._core, scope, receive, send)

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """WSGI."""
        return wsgi.serve(self._core, environ, start_response)

    def close(self) -> None:
        """Close the connections to Sentry. What comes later opens others."""
        self._core.close()
