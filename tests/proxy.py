"""What may stand between the mirror and Segment: a forward proxy, TLS."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import trustme

from collector import HOST, Collector, Takeover


@dataclass(frozen=True)
class ProxyRequest:
    """A request to the proxy: its method, its target and its headers by lower-cased name."""

    method: str
    target: str
    headers: dict[str, str]


class Proxy:
    """A forward proxy on 127.0.0.1, as a context manager, that keeps what it was asked for.

    It takes plain requests with an absolute URI, and CONNECT. With a TLS context it is to be
    reached by https.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[ProxyRequest] = []
        self.instead_of_tunnel: Takeover | None = None
        """Given the connection when CONNECT was read, to misbehave on it."""
        self._server = _ProxyServer(self, tls)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.netloc = f"{HOST}:{self._server.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.netloc}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.closing.set()
        self._server.server_close()  # waits for the handlers' threads

    def asked_for(self, target: str) -> list[ProxyRequest]:
        """The requests for this target; Sentry's own may have come by as well."""
        return [request for request in self.requests if request.target == target]


class _ProxyServer(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, proxy: Proxy, tls: ssl.SSLContext | None) -> None:
        self.proxy = proxy
        self.closing = threading.Event()
        super().__init__((HOST, 0), _ProxyHandler)
        if tls is not None:
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of what tests do."""


class _ProxyHandler(BaseHTTPRequestHandler):
    """One request a connection: HTTP/1.0."""

    server: _ProxyServer
    timeout = 10.0

    def do_POST(self) -> None:
        self._keep()
        target = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        upstream = HTTPConnection(target.netloc, timeout=10.0)
        try:
            upstream.request("POST", target.path, body, {**self.headers, "Connection": "close"})
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_CONNECT(self) -> None:
        self._keep()
        proxy = self.server.proxy
        if proxy.instead_of_tunnel is not None:
            proxy.instead_of_tunnel(self.connection, self.server.closing)
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10.0) as upstream:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            self._tunnel(self.connection, upstream)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: what was asked for is in the list."""

    def _keep(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.proxy.requests.append(ProxyRequest(self.command, self.path, headers))

    def _tunnel(self, here: socket.socket, there: socket.socket) -> None:
        while not self.server.closing.is_set():
            readable = select.select([here, there], [], [], 0.02)[0]
            if isinstance(here, ssl.SSLSocket) and here.pending():
                readable = [here]  # decrypted already, which select does not see
            for source in readable:
                data = source.recv(65_536)
                if not data:
                    return
                (there if source is here else here).sendall(data)


def server_context(ca: trustme.CA, name: str = HOST, **issued: Any) -> ssl.SSLContext:
    """A server's TLS, with a certificate for that name; `issued` is for trustme's `issue_cert`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name, **issued).configure_cert(context)
    return context


class TlsCollector(Collector):
    """A collector to be reached by https."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__()
        self._tls = tls

    def start(self) -> None:
        super().start()
        assert self._server is not None
        accept = self._server.get_request

        def accept_tls() -> tuple[socket.socket, Any]:
            connection, address = accept()
            # The handshake is made by the thread of the connection, with the first byte it reads.
            tls = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return tls, address

        self._server.get_request = accept_tls  # type: ignore[method-assign]

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")
