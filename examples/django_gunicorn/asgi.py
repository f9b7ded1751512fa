"""What uvicorn serves: uvicorn django_gunicorn.asgi:application"""

from __future__ import annotations

import os
from typing import Any

import sentry_sdk
from django.core.asgi import get_asgi_application

from sentry_segment.tunnel import SentryTunnel

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_gunicorn.settings")

django = get_asgi_application()
# The errors of the browser's: Sentry.init({dsn: "...", tunnel: "/tunnel"})
tunnel = SentryTunnel()


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http" and scope["path"] == "/tunnel":
        await tunnel(scope, receive, send)
    else:
        await django(scope, receive, send)


async def lifespan(receive: Any, send: Any) -> None:
    """Django has none. uvicorn ends by the signal that it was sent, without exit handlers."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    sentry_sdk.flush()
    tunnel.close()
    await send({"type": "lifespan.shutdown.complete"})
