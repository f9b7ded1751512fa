"""Tunnels on real servers, and the envelopes that browsers post to them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

from sentry_segment.tunnel import SentryTunnel

Serve = Callable[[SentryTunnel], str]
"""Serves a tunnel until the end of the test; its URL."""

EVENT: dict[str, Any] = {
    "event_id": "0123456789abcdef0123456789abcdef",
    "timestamp": 1795700000.5,
    "platform": "javascript",
    "exception": {"values": [{"type": "TypeError", "value": "basket is undefined"}]},
    "user": {"id": "1906"},
    "environment": "production",
    "request": {
        "url": "https://shop.example/basket?step=2&token=abc",
        "headers": {"User-Agent": "Browser/7", "Referer": "https://shop.example/"},
    },
    "sdk": {"name": "sentry.javascript.browser", "version": "10.0.0"},
}


def envelope(dsn: str, *items: tuple[str, Any], **header: Any) -> bytes:
    """As Sentry's JavaScript SDK writes it."""
    lines = [json.dumps({"sent_at": "2026-11-27T00:00:00Z", "dsn": dsn, **header}).encode()]
    for kind, payload in items:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        lines += [json.dumps({"type": kind, "length": len(body)}).encode(), body]
    return b"\n".join(lines)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *given: Any) -> None:
        pass


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@contextmanager
def by_wsgi(tunnel: SentryTunnel) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, tunnel.wsgi, _Threads, _Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/tunnel"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        tunnel.close()


@contextmanager
def by_asgi(tunnel: SentryTunnel) -> Iterator[str]:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    server = uvicorn.Server(
        uvicorn.Config(tunnel, log_level="critical", ws="none", proxy_headers=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/tunnel"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
        tunnel.close()
