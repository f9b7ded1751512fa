"""A local server that takes what Sentry and Segment take, keeps it, and answers as it is told.

with Collector() as collector:
    sentry_sdk.init(
        dsn=collector.dsn,
        integrations=[SegmentIntegration(write_key="key", host=collector.url)],
    )
    ...
    [message] = collector.wait_for_messages(1)
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any

from parsing import decompressed, items_in, parsed, write_key

HOST = "127.0.0.1"

PATIENCE = 60.0
"""Seconds to wait for what takes less than one, on a machine that is not busy."""


@dataclass(frozen=True)
class Call:
    """One request to Segment's side, and the status that it was answered with."""

    path: str
    headers: dict[str, str]
    """By lower-cased name."""
    body: bytes
    """Decompressed."""
    raw_size: int
    """Bytes of the body on the wire."""
    write_key: str | None
    """User name of the Basic authentication, where its password is empty."""
    json: Any
    """The parsed body; `None` where it is not JSON."""
    arrived: float
    """`time.monotonic()` when the body was there."""
    status: int = 0
    """0 as long as the answer is not decided, and where there was none."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages in the body, be it one alone or a batch."""
        if not isinstance(self.json, dict):
            return []
        batch = self.json.get("batch")
        return batch if isinstance(batch, list) else [self.json]

    @property
    def message_ids(self) -> list[str]:
        return [message["messageId"] for message in self.messages]


Takeover = Callable[[socket.socket, threading.Event], None]
"""Does with a connection what it likes, until it returns, at the latest when the event is set."""


@dataclass(frozen=True)
class Reply:
    """An answer to a `Call`."""

    status: int = 200
    """0 closes the connection without an answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"success": true}'
    delay: threading.Event | None = None
    """The answer waits until this is set. `Collector.stop` sets it."""
    takeover: Takeover | None = None
    """Given the connection instead of an answer, to misbehave on it. The event is set by
    `Collector.stop`. `status` says merely whether the messages count as accepted."""


class Collector:
    """Sentry and Segment on one port of 127.0.0.1, from `start` to `stop` or as a context manager.

    Whatever arrives is kept before it is answered: who has the answer finds it in the lists. They
    are copies. All of it may be used from any thread.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        """0: the system chooses one in `start`. It stays the same in a second `start`."""
        self.answer: Callable[[Call], Reply | None] | None = None
        """Chooses the answer to a Segment request; `None` is the usual answer. Called in the
        request's own thread, with no lock held."""
        self.sentry_status = 200
        """What Sentry's side answers with. Envelopes are kept whatever it is."""
        self.sentry_headers: Mapping[str, str] = {}
        """What it sends with that."""
        self.sentry_requests: list[tuple[str, dict[str, str], bytes]] = []
        """Path, headers by lower-cased name, and body as it came, of each request to it."""
        self.on_arrival: Callable[[str, Any], None] | None = None
        """Called with `("sentry", event)` and `("segment", message)`, in the request's thread."""
        self._changed = threading.Condition()
        self._calls: list[Call] = []
        self._messages: list[dict[str, Any]] = []
        self._envelopes: list[bytes] = []
        self._items: list[tuple[str, Any]] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Collector:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen. After `stop` it may be called again, and listens on the same port."""
        if self._server is not None:
            raise RuntimeError("the collector is running already")
        self._server = _Server(self, self.port)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},  # stop() waits for the end of one such interval
            name="collector",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection, and wait until all threads have ended."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.close_all()
        self._server = self._thread = None

    @property
    def url(self) -> str:
        """Base URL, to be given to the integration as `host`."""
        return f"http://{HOST}:{self.port}"

    @property
    def dsn(self) -> str:
        """The DSN for `sentry_sdk.init`."""
        return f"http://public@{HOST}:{self.port}/1"

    @property
    def calls(self) -> list[Call]:
        """Every request that was not Sentry's, whatever the answer."""
        with self._changed:
            return list(self._calls)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The Segment messages that were accepted with 2xx, in order, out of batches as well."""
        with self._changed:
            return list(self._messages)

    @property
    def envelopes(self) -> list[bytes]:
        """Each envelope that Sentry's side was sent, decompressed."""
        with self._changed:
            return list(self._envelopes)

    @property
    def items(self) -> list[tuple[str, Any]]:
        """Type and payload of every envelope item; a payload that is not JSON as bytes."""
        with self._changed:
            return list(self._items)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The payloads of the items of type `event`."""
        return [payload for kind, payload in self.items if kind == "event"]

    def wait_for(self, predicate: Callable[[], bool], timeout: float = PATIENCE) -> bool:
        """Wait until the predicate holds, asked at each arrival; whether it does in the end."""
        with self._changed:
            return self._changed.wait_for(predicate, timeout)

    def wait_for_messages(self, n: int, timeout: float = PATIENCE) -> list[dict[str, Any]]:
        """The accepted messages, once there are `n`. Raises `TimeoutError` where there are not."""
        if not self.wait_for(lambda: len(self._messages) >= n, timeout):
            raise TimeoutError(
                f"expected {n} messages within {timeout} s, "
                f"got {len(self.messages)}\n{self._report()}"
            )
        return self.messages

    def take_call(self, call: Call) -> Reply:
        """Keep a request to Segment's side, and say how it is answered."""
        reply = (self.answer(call) if self.answer else None) or _usual_reply(call)
        accepted = call.messages if 200 <= reply.status < 300 else []
        with self._changed:
            self._calls.append(replace(call, status=reply.status))
            self._messages.extend(accepted)
            self._changed.notify_all()
        if self.on_arrival is not None:
            for message in accepted:
                self.on_arrival("segment", message)
        return reply

    def take_envelope(self, envelope: bytes) -> Reply:
        """Keep what Sentry's side was sent, and say how it is answered."""
        try:
            items = list(items_in(envelope))
        except ValueError:
            return Reply(400, body=b'{"detail": "not an envelope"}')
        with self._changed:
            self._envelopes.append(envelope)
            self._items.extend(items)
            self._changed.notify_all()
        if self.on_arrival is not None:
            for kind, payload in items:
                if kind == "event":
                    self.on_arrival("sentry", payload)
        return Reply(self.sentry_status, self.sentry_headers, body=b"{}")

    def _report(self) -> str:
        lines = [
            f"  Segment: {call.path} with {len(call.messages)} messages, "
            f"{len(call.body)} bytes, answered {call.status}"
            for call in self.calls
        ]
        lines += [f"  Sentry: {kind}" for kind, _ in self.items]
        return "\n".join(
            ["What arrived (the last 20):", *lines[-20:]] if lines else ["Nothing arrived."]
        )


class _Server(ThreadingHTTPServer):
    """Knows its open connections, so that it can close them."""

    daemon_threads = True
    request_queue_size = 128  # the default, 5, turns away what tests send at once

    def __init__(self, collector: Collector, port: int) -> None:
        self.collector = collector
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._delays: list[threading.Event] = []
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own also asks the DNS for the host's name: seconds, on some machines.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="collector connection",
            daemon=True,
        )
        # Forgotten here and not by the thread itself, which would still be alive when it does so.
        self._connections = {t: c for t, c in self._connections.items() if t.is_alive()}
        self._connections[thread] = request
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away is part of what tests do, not an error.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def wait(self, delay: threading.Event) -> bool:
        """Wait for the event; `False` where the server closed meanwhile."""
        with self._lock:
            if self.closing.is_set():
                return False
            self._delays.append(delay)
        delay.wait()
        with self._lock:
            self._delays.remove(delay)
            return not self.closing.is_set()

    def close_all(self) -> None:
        """End what `shutdown` leaves: the port, the connections and their threads.

        To be called after the thread of `serve_forever` has ended, so that no connection is new.
        """
        # Closing is not enough where a forked child holds the same sockets.
        _shut(self.socket)
        self.server_close()
        with self._lock:
            self.closing.set()
            delays = list(self._delays)
        for delay in delays:
            delay.set()
        for connection in self._connections.values():
            _shut(connection)
        for thread in self._connections:
            thread.join(timeout=PATIENCE)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body of an answer leave together

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(size)
        if len(raw) < size:
            self.close_connection = True
            return
        body = decompressed(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
        collector = self.server.collector
        if self.path.startswith("/api/") and self.path.endswith("/envelope/"):
            headers = {name.lower(): value for name, value in self.headers.items()}
            collector.sentry_requests.append((self.path, headers, raw))
            self._send(collector.take_envelope(body))
        else:
            self._send(collector.take_call(self._call(body, len(raw))))

    def do_GET(self) -> None:
        # Nobody should, but a redirect that was followed by mistake shows up among the calls.
        self.do_POST()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: what arrived is in the lists."""

    def _call(self, body: bytes, raw_size: int) -> Call:
        return Call(
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            raw_size=raw_size,
            write_key=write_key(self.headers.get("Authorization", "")),
            json=parsed(body),
            arrived=time.monotonic(),
        )

    def _send(self, reply: Reply) -> None:
        open_still = reply.delay is None or self.server.wait(reply.delay)
        if open_still and reply.takeover is not None:
            self.close_connection = True
            reply.takeover(self.connection, self.server.closing)
            return
        if not open_still or reply.status == 0:
            self.close_connection = True
            return
        if "Date" in reply.headers:
            self.send_response_only(reply.status)
        else:
            self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):  # have no body
            self.end_headers()
            return
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)


def _usual_reply(call: Call) -> Reply:
    # The ending only: a collector that stands in for Segment may live under a path of its own.
    if not call.path.endswith(("/v1/track", "/v1/batch")):
        return Reply(404, body=b'{"success": false, "message": "not found"}')
    if not isinstance(call.json, dict):
        return Reply(400, body=b'{"success": false, "message": "malformed JSON"}')
    return Reply()


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
