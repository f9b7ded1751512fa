"""What the tests of the inspector share: it, one who posts to it, and its stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from sentry_segment.inspector.server import Inspector
from support import WRITE_KEY

NOW = "2024-03-01T12:00:00Z"


def message(**changes: Any) -> dict[str, Any]:
    """A message that Segment has no objection to."""
    return {
        "type": "track",
        "messageId": "0123456789abcdef0123456789abcdef",
        "userId": "1906",
        "event": "Error Captured",
        "timestamp": NOW,
        "properties": {"exceptionType": "KeyError"},
        "context": {},
        **changes,
    }


def without(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}


def event(**changes: Any) -> dict[str, Any]:
    """A Sentry event of a user with an id."""
    return {
        "event_id": "0123456789abcdef0123456789abcdef",
        "timestamp": NOW,
        "user": {"id": "1906"},
        "transaction": "/checkout",
        "exception": {"values": [{"type": "KeyError", "value": "'address'"}]},
        **changes,
    }


def envelope(*events: dict[str, Any]) -> bytes:
    lines: list[Any] = [{}]
    for each in events:
        lines += [{"type": "event"}, each]
    return b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"


class Poster:
    """Posts to an inspector, as an application does."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=30.0)

    def __enter__(self) -> Poster:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def segment(self, content: Any, path: str = "track", **options: Any) -> httpx.Response:
        options.setdefault("auth", (WRITE_KEY, ""))
        if isinstance(content, bytes):
            options["content"] = content
        else:  # in the shortest form, which not every httpx has
            options["content"] = json.dumps(content, separators=(",", ":"))
            headers = options.get("headers", {})
            options["headers"] = {"Content-Type": "application/json", **headers}
        return self.http.post(f"/v1/{path}", **options)

    def batch(self, *messages: Any, **fields: Any) -> httpx.Response:
        return self.segment({"batch": messages, "sentAt": NOW, **fields}, "batch")

    def sentry(self, content: bytes, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post("/api/1/envelope/", content=content, headers=named)


@contextmanager
def stream(
    inspector: Inspector, last_event_id: str = ""
) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """The id and the data of each event, as they come."""
    with httpx.Client(trust_env=False, timeout=30.0) as http:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        with http.stream("GET", f"{inspector.url}/inspector/stream", headers=headers) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            yield _events(response.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    event_id = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            event_id = value
        elif name == "data":
            yield event_id, json.loads(value)
