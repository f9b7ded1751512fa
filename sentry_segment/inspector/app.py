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
from sentry_segment.inspector.archive import MAX_FILE_BYTES, pack, to_json, unpack
from sentry_segment.inspector.bodies import MAX_BODY_BYTES, BodyError, too_long
from sentry_segment.inspector.guard import Guard
from sentry_segment.inspector.origins import fields
from sentry_segment.inspector.store import Store
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
            Route("/inspector/fields", to.fields),
            Route("/inspector/export", to.export),
            Route("/inspector/import", to.take_file, methods=["POST"]),
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
        after = _number(request, "after")
        if after is None:
            return JSONResponse({"detail": "after: expected a record's number"}, 400)
        found = b",\n".join(to_json(record) for record in self._store.after(after))
        return Response(b'{"records": [' + found + b"]}", media_type="application/json")

    async def fields(self, request: Request) -> Response:
        """Where the fields of a message come from; both sides are named by their numbers."""
        message, event = (
            self._store.get(_number(request, name) or 0) for name in ("message", "event")
        )
        if message is None or event is None:
            return JSONResponse({"detail": "one of them is not kept any more"}, 404)
        sides = message.payload, event.payload
        if not all(isinstance(side, dict) for side in sides):
            return JSONResponse({"fields": []})
        found = json.dumps({"fields": fields(*sides)})
        return Response(found, media_type="application/json")

    async def export(self, request: Request) -> Response:
        headers = {"Content-Disposition": 'attachment; filename="inspector.json"'}
        packed = pack(self._store.records)
        return StreamingResponse(packed, headers=headers, media_type="application/json")

    async def take_file(self, request: Request) -> Response:
        try:
            body = await _body(request, MAX_FILE_BYTES)
            if isinstance(body, BodyError):
                raise body
            records = unpack(body)
        except BodyError as error:
            return JSONResponse({"detail": str(error)}, error.status)
        self._store.add(records)
        return JSONResponse({"imported": len(records)})

    async def events(self, request: Request) -> Response:
        last_event_id = request.headers.get("last-event-id", "")
        return StreamingResponse(stream(self._store, last_event_id), media_type="text/event-stream")

    async def clear(self, request: Request) -> Response:
        self._store.clear()
        return Response(status_code=204)


async def _body(request: Request, most: int = MAX_BODY_BYTES) -> bytes | BodyError:
    """The body as it was sent, within the bound of what is read at all."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            return too_long(most)
    return bytes(body)


def _number(request: Request, name: str) -> int | None:
    """A record's number, 0 where there is none, `None` where it is no number."""
    text = request.query_params.get(name, "0")
    return int(text[:18]) if text.isascii() and text.isdigit() else None
