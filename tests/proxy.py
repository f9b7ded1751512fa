"""What may stand between the mirror and Segment: a forward proxy, TLS, a server that misbehaves."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from demo.collector import HOST, Collector


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


Behaviour = Callable[["RawServer", socket.socket], None]


class RawServer:
    """Treats the first connection as it is told, and the others as Segment does.

    As a context manager, on 127.0.0.1. With a TLS context it makes the handshake first, but
    with the first connection only where `handshake` is true.
    """

    def __init__(
        self, first: Behaviour, tls: ssl.SSLContext | None = None, handshake: bool = True
    ) -> None:
        self.closing = threading.Event()
        self.connections = 0
        self._first = first
        self._tls = tls
        self._handshake = handshake
        self._listening = socket.create_server((HOST, 0))
        self._threads: list[threading.Thread] = []
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self._listening.getsockname()[1]}"

    def __enter__(self) -> RawServer:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._listening.shutdown(socket.SHUT_RDWR)  # which ends accept()
        self._listening.close()
        for thread in self._threads:
            thread.join(timeout=10.0)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listening.accept()[0]
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, connection, self.connections == 1)

    def _serve(self, connection: socket.socket, is_first: bool) -> None:
        connection.settimeout(10.0)
        try:
            if self._tls is not None and (self._handshake or not is_first):
                connection = self._tls.wrap_socket(connection, server_side=True)
            if is_first:
                self._first(self, connection)
            else:
                read_request(connection)
                connection.sendall(OK + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")
        except OSError:
            pass  # the client went away
        finally:
            connection.close()


OK = b"HTTP/1.1 200 OK\r\n"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\n"


def read_request(connection: socket.socket) -> None:
    """Read a request to its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    while len(body) < sum(lengths):
        body += _received(connection)


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionError("the client closed the connection")
    return data


def silent(server: RawServer, connection: socket.socket) -> None:
    """Accepts, and never reads or answers."""
    server.closing.wait()


def after(answer: bytes) -> Behaviour:
    """Answers this, and closes the connection."""

    def answer_and_close(server: RawServer, connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)

    return answer_and_close


def stuck_after(answer: bytes) -> Behaviour:
    """Answers this, and then nothing more."""

    def answer_and_wait(server: RawServer, connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)
        server.closing.wait()

    return answer_and_wait


def dripping(answer: bytes, drop: bytes = b"x") -> Behaviour:
    """Answers this, and then adds a drop now and then, until the client has enough."""

    def drip(server: RawServer, connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)
        while not server.closing.wait(0.01):
            connection.sendall(drop)

    return drip


def pouring(answer: bytes) -> Behaviour:
    """Answers this, and then sends as much as the client takes, without an end."""

    def pour(server: RawServer, connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)
        while not server.closing.is_set():
            connection.sendall(b"x" * 65_536)

    return pour


def reset(server: RawServer, connection: socket.socket) -> None:
    """Reads the request and resets the connection."""
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_unread(server: RawServer, connection: socket.socket) -> None:
    """Resets the connection at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
