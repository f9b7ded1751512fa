"""The tunnel as an ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from sentry_segment.tunnel.core import Core
from sentry_segment.tunnel.forward import Answer
from sentry_segment.tunnel.options import Id
from sentry_segment.tunnel.refusal import RefusalError, too_long
from sentry_segment.tunnel.request import TunnelRequest, client_address


class _GoneError(Exception):
    """The client is: nobody waits for an answer."""


async def serve(core: Core, scope: Any, receive: Any, send: Any) -> None:
    """Serve a request."""
    if scope["type"] == "lifespan":
        await _lifespan(core, receive, send)
        return
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1003})
        return
    request = _request(core, scope)
    try:
        core.admit(scope["method"], request.headers)
        body = await _body(receive, core.options.max_body_bytes)
        with core.on_its_way():
            answer = await _answer(core, request, body)
    except RefusalError as error:
        answer = error.answer
    except _GoneError:
        return
    answer = core.completed(answer, request.headers)
    headers = [
        (name.encode(), value.encode("latin-1", "replace")) for name, value in answer.headers
    ]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _answer(core: Core, request: TunnelRequest, body: bytes) -> Answer:
    envelope = core.opened(body, request.headers)
    if envelope.event is not None:
        try:
            core.mirror(envelope, request, await _user_id(core, request))
        except Exception as error:  # noqa: BLE001 - the application's function
            core.failed(error)
    # In a thread: one client for all, whichever loop or framework serves. With a limiter of its
    # own, for a slow Sentry is not to use up the threads of the application.
    forward = partial(core.forward, envelope.target, body, request)
    return await anyio.to_thread.run_sync(forward, limiter=anyio.CapacityLimiter(1))


async def _user_id(core: Core, request: TunnelRequest) -> Id:
    if core.options.user_id is None:
        return None
    found: Any = core.options.user_id(request)
    if inspect.isawaitable(found):
        found = await found
    user_id: Id = found
    return user_id


async def _body(receive: Any, most: int) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise too_long()
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _request(core: Core, scope: Any) -> TunnelRequest:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        between = "; " if name == "cookie" else ", "
        headers[name] = f"{headers[name]}{between}{value}" if name in headers else value
    peer = (scope.get("client") or (None,))[0]
    forwarded_for = headers.get("x-forwarded-for", "")
    address = client_address(peer, forwarded_for, core.options.trusted_proxies)
    return TunnelRequest(headers, address, scope)


async def _lifespan(core: Core, receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            core.close()
            return
