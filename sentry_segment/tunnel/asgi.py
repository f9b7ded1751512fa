"""The tunnel as an ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from sentry_segment.tunnel.core import Core, Opened
from sentry_segment.tunnel.forward import Answer
from sentry_segment.tunnel.options import Id
from sentry_segment.tunnel.refusal import RefusalError, cut_off, too_long
from sentry_segment.tunnel.request import TunnelRequest, client_address

T = TypeVar("T")


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
    answer = core.completed(answer, request.headers)
    headers = [
        (name.encode(), value.encode("latin-1", "replace")) for name, value in answer.headers
    ]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _answer(core: Core, request: TunnelRequest, body: bytes) -> Answer:
    envelope = await _in_thread(partial(_begun, core, request, body))
    if isinstance(envelope, Answer):
        return envelope
    told, user_id = False, None
    try:
        with anyio.move_on_after(core.options.timeout):
            user_id = await _user_id(core, request)
            told = True
        if not told:
            core.failed(TimeoutError("no answer within the timeout"))
    except Exception as error:  # noqa: BLE001 - the application's function
        core.failed(error)
    return await _in_thread(partial(_ended, core, request, body, envelope, told, user_id))


async def _in_thread(work: Callable[[], T]) -> T:
    """An envelope may take long to be read, and Sentry to answer: the event loop waits for neither.

    With a limiter of its own, for a slow Sentry is not to use up the threads of the application.
    """
    try:
        return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))
    except RuntimeError as error:
        if "thread" not in str(error):
            raise
        raise RefusalError(503, "No thread can be started", ("retry-after", "1")) from None


def _begun(core: Core, request: TunnelRequest, body: bytes) -> Answer | Opened:
    """The answer; or the envelope, where the application has to say first whose it is."""
    envelope = core.opened(body, request.headers)
    if envelope.event is not None and core.options.user_id is not None:
        return envelope
    return _ended(core, request, body, envelope, True, None)


def _ended(
    core: Core,
    request: TunnelRequest,
    body: bytes,
    envelope: Opened,
    is_mirrored: bool,
    user_id: Id,
) -> Answer:
    if is_mirrored:
        core.mirror(envelope, request, user_id)
    return core.forward(envelope.target, body, request)


async def _user_id(core: Core, request: TunnelRequest) -> Id:
    assert core.options.user_id is not None  # who asks has looked
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
            raise cut_off()  # which nobody reads; but middleware may wait for an answer
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise too_long()
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _request(core: Core, scope: Any) -> TunnelRequest:
    values: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    headers = {
        name: ("; " if name == "cookie" else ", ").join(given) for name, given in values.items()
    }
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
