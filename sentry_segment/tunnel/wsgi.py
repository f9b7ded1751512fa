"""The tunnel as a WSGI application (https://peps.python.org/pep-3333/)."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from sentry_segment.tunnel.core import Core
from sentry_segment.tunnel.forward import Answer
from sentry_segment.tunnel.options import Id
from sentry_segment.tunnel.refusal import RefusalError, cut_off, too_long
from sentry_segment.tunnel.request import TunnelRequest, client_address


def serve(core: Core, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Serve a request."""
    request = _request(core, environ)
    try:
        core.admit(environ["REQUEST_METHOD"], request.headers)
        body = _body(environ, core.options.max_body_bytes)
        with core.on_its_way():
            answer = _answer(core, request, body)
    except RefusalError as error:
        answer = error.answer
    answer = core.completed(answer, request.headers)
    shown = [
        (name, value.encode("latin-1", "replace").decode("latin-1"))
        for name, value in answer.headers
    ]
    headers = [*shown, ("content-length", str(len(answer.body)))]
    start_response(f"{answer.status} {_phrase(answer.status)}", headers)
    return [answer.body]


def _answer(core: Core, request: TunnelRequest, body: bytes) -> Answer:
    envelope = core.opened(body, request.headers)
    if envelope.event is not None:
        try:
            core.mirror(envelope, request, _user_id(core, request))
        except Exception as error:  # noqa: BLE001 - the application's function
            core.failed(error)
    return core.forward(envelope.target, body, request)


def _user_id(core: Core, request: TunnelRequest) -> Id:
    if core.options.user_id is None:
        return None
    found: Any = core.options.user_id(request)
    if inspect.isawaitable(found):
        if inspect.iscoroutine(found):
            found.close()
        raise TypeError("it is asynchronous, which WSGI is not")
    user_id: Id = found
    return user_id


def _body(environ: dict[str, Any], most: int) -> bytes:
    stream, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        most = int(length)  # which was looked at
    elif not environ.get("wsgi.input_terminated"):
        raise RefusalError(411, "The length of the body is missing")
    parts, size = [], 0
    while size <= most:
        try:
            part = stream.read(min(65_536, most + 1 - size if not length else most - size))
        except Exception:  # noqa: BLE001 - the browser has gone, say; each server has errors of its own
            raise cut_off() from None
        if not part:
            break
        parts.append(part)
        size += len(part)
    if size > most:
        raise too_long()
    if length and size < most:
        raise cut_off()
    return b"".join(parts)


def _request(core: Core, environ: dict[str, Any]) -> TunnelRequest:
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    forwarded_for = headers.get("x-forwarded-for", "")
    address = client_address(
        environ.get("REMOTE_ADDR"), forwarded_for, core.options.trusted_proxies
    )
    return TunnelRequest(headers, address, environ)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
