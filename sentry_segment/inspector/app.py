"""The inspector's paths: those of Segment, of Sentry, and of the page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.resources import files
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from sentry_segment.inspector import envelope, segment
from sentry_segment.inspector.bodies import MAX_BODY_BYTES, BodyError, too_long
from sentry_segment.inspector.guard import Guard
from sentry_segment.inspector.store import Record, Store
from sentry_segment.inspector.stream import stream

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def make_app(store: Store, names: Iterable[str] = (), origins: Iterable[str] = ()) -> ASGIApp:
    """The application on this store; for `names` and `origins` see `Guard`.

    It does nothing slow: all of its work is done in the event loop.
    """
    to = _Endpoints(store)
    app = Starlette(
        routes=[
            Route("/", to.show),
            Route("/v1/{path}", to.take_segment, methods=["POST"]),
            Route("/v1/projects/{key}/settings", to.settings),
            Route("/api/{project}/envelope/", to.take_envelope, methods=["POST"]),
            Route("/stream", to.take_envelope, methods=["POST"]),  # Spotlight's
            Route("/inspector/records", to.records),
            Route("/inspector/stream", to.events),
            Route("/inspector/clear", to.clear, methods=["POST"]),
            Route("/inspector/{name}", to.show),
        ]
    )
    # Around the application, where no version of the SDK wraps it: uvicorn took what 2.0 makes of a
    # Starlette for a factory of applications.
    return Guard(app, names, origins)


class _Endpoints:
    """What is answered to whom."""

    def __init__(self, store: Store) -> None:
        self._store = store
        folder = files(__package__) / "page"
        self._page = {path.name: path.read_bytes() for path in folder.iterdir()}

    async def take_segment(self, request: Request) -> Response:
        path = request.path_params["path"]
        if path not in segment.PATHS:
            return Response(status_code=404)
        now = datetime.now(timezone.utc)
        body = await _body(request)
        status, records = segment.take(path, request.headers, body, now, self._store.is_taken)
        self._store.add(records)
        if status == 200:
            return JSONResponse({"success": True})
        message = records[0].objections[0]
        return JSONResponse({"success": False, "message": message}, status)

    async def settings(self, request: Request) -> Response:
        """What Segment's library for browsers asks for when it starts, from the CDN.

        Its messages come here, too, with nothing else to be set.
        """
        source = {
            "apiKey": request.path_params["key"],
            "apiHost": f"{request.headers['host']}/v1",
            "protocol": "http",
        }
        return JSONResponse({"integrations": {"Segment.io": source}})

    async def take_envelope(self, request: Request) -> Response:
        body = await _body(request)
        status, records, others = envelope.take(request.url.path[:100], request.headers, body)
        self._store.add(records, others)
        if status == 200:
            event_id = next((record.id for record in records if record.id), uuid4().hex)
            return JSONResponse({"id": event_id})
        return JSONResponse({"detail": records[0].objections[0]}, status)

    async def show(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in self._page:
            return Response(status_code=404)
        return Response(self._page[name], media_type=_TYPES[name.rpartition(".")[2]])

    async def records(self, request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdigit()):
            return JSONResponse({"detail": "after: expected a record's number"}, 400)
        found = b",\n".join(_json(record) for record in self._store.after(int(after[:18])))
        return Response(b'{"records": [' + found + b"]}", media_type="application/json")

    async def events(self, request: Request) -> Response:
        last_event_id = request.headers.get("last-event-id", "")
        return StreamingResponse(stream(self._store, last_event_id), media_type="text/event-stream")

    async def clear(self, request: Request) -> Response:
        self._store.clear()
        return Response(status_code=204)


async def _body(request: Request) -> bytes | BodyError:
    """The body as it was sent, within the bound of what is read at all."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return too_long()
    return bytes(body)


def _json(record: Record) -> bytes:
    text = f'{json.dumps(record.head())[:-1]}, "payload": {record.text}}}'
    # A lone surrogate becomes "\ud800", which is how JSON spells it.
    return text.encode("utf-8", "backslashreplace")
