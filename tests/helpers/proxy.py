"""What may stand between the mirror and Segment: a forward proxy, TLS, a wire that breaks."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socketserver import StreamRequestHandler, ThreadingTCPServer
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
        self.authorization: str | None = None
        """What a request must have as `Proxy-Authorization`, or it is refused."""
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
        if not self._keep():
            return
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
        if not self._keep():
            return
        proxy = self.server.proxy
        if proxy.instead_of_tunnel is not None:
            proxy.instead_of_tunnel(self.connection, self.server.closing)
            return
        host, _, port = self.path.rpartition(":")
        try:
            upstream = socket.create_connection((host, int(port)), timeout=10.0)
        except OSError:
            self.send_error(502)
            return
        with upstream:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            _tunnel(self.connection, upstream, self.server.closing)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: what was asked for is in the list."""

    def _keep(self) -> bool:
        """Keep the request; whether it may go on."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        proxy = self.server.proxy
        proxy.requests.append(ProxyRequest(self.command, self.path, headers))
        if proxy.authorization in (None, headers.get("proxy-authorization")):
            return True
        self.send_error(407)
        return False


class SocksProxy:
    """A SOCKS5 proxy on 127.0.0.1, as a context manager, that keeps what it was asked for.

    RFC 1928, and the user and password of RFC 1929 where it is given them.
    """

    def __init__(self, user: str = "", password: str = "") -> None:
        self.targets: list[str] = []
        self.instead_of_tunnel: Takeover | None = None
        """Given the connection when the request was read, to misbehave on it."""
        self.credentials = (user, password)
        self.closing = threading.Event()
        self._server = _SocksServer(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.netloc = f"{HOST}:{self._server.server_address[1]}"
        self.url = f"socks5://{self.netloc}"

    def __enter__(self) -> SocksProxy:
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
        self.closing.set()
        self._server.server_close()


class _SocksServer(ThreadingTCPServer):
    daemon_threads = False

    def __init__(self, proxy: SocksProxy) -> None:
        self.proxy = proxy
        super().__init__((HOST, 0), _SocksHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """As above."""


class _SocksHandler(StreamRequestHandler):
    server: _SocksServer
    timeout = 10.0

    def handle(self) -> None:
        proxy = self.server.proxy
        _, methods = self._read(2)
        if any(proxy.credentials):
            if 2 not in self._read(methods):
                self.connection.sendall(b"\x05\xff")
                return
            self.connection.sendall(b"\x05\x02")
            self._read(1)
            given = tuple(self._read(self._read(1)[0]).decode() for _ in range(2))
            self.connection.sendall(b"\x01\x00" if given == proxy.credentials else b"\x01\x01")
            if given != proxy.credentials:
                return
        else:
            self._read(methods)
            self.connection.sendall(b"\x05\x00")
        kind = self._read(4)[3]
        if kind == 3:
            host = self._read(self._read(1)[0]).decode()
        else:
            host = str(ip_address(self._read(4 if kind == 1 else 16)))
        port = int.from_bytes(self._read(2), "big")
        proxy.targets.append(f"{host}:{port}")
        if proxy.instead_of_tunnel is not None:
            proxy.instead_of_tunnel(self.connection, proxy.closing)
            return
        try:
            upstream = socket.create_connection((host, port), timeout=10.0)
        except OSError:
            self._reply(4)  # "host unreachable"
            return
        with upstream:
            self._reply(0)
            _tunnel(self.connection, upstream, proxy.closing)

    def _read(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionError
        return data

    def _reply(self, code: int) -> None:
        self.connection.sendall(bytes([5, code, 0, 1]) + bytes(6))


class Wire:
    """A port of 127.0.0.1 that leads to another, as a context manager, and breaks on command."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._on_connection: Takeover | None = None
        self._on_bytes: Takeover | None = None
        self.port = 0
        self.open: list[socket.socket] = []
        """The ends, here, of the connections that are open."""

    def __enter__(self) -> Wire:
        self.mend()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._accepting.is_alive():
            self.refuse()
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def break_next(self, takeover: Takeover) -> None:
        """Have this done with the next connection, when its first bytes are read."""
        self._on_connection = takeover

    def break_open(self, takeover: Takeover) -> None:
        """Have this done with the connection that is open, when its next bytes are read."""
        self._on_bytes = takeover

    def refuse(self) -> None:
        """Refuse connections; those that are open stay."""
        self._listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread
        self._accepting.join()
        self._listener.close()

    def mend(self) -> None:
        """Take connections."""
        self._listener = socket.create_server((HOST, self.port))
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if error.errno == errno.EMFILE:  # a test's fault, which is another's to feel
                    self._closing.wait(0.01)
                    continue
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        takeover, self._on_connection = self._on_connection, None
        with connection:
            try:
                if takeover is None:
                    self.open.append(connection)
                    with socket.create_connection((HOST, self._to)) as there:
                        _tunnel(connection, there, self._closing, self._taken_over)
                else:
                    connection.recv(1, socket.MSG_PEEK)
                    takeover(connection, self._closing)
            except OSError:
                pass
            finally:
                self.open = [each for each in self.open if each is not connection]

    def _taken_over(self, connection: socket.socket) -> bool:
        takeover, self._on_bytes = self._on_bytes, None
        if takeover is None:
            return False
        connection.recv(65_536)  # or what follows would be a reset
        takeover(connection, self._closing)
        return True


def _tunnel(
    here: socket.socket,
    there: socket.socket,
    closing: threading.Event,
    is_broken: Callable[[socket.socket], bool] | None = None,
) -> None:
    """Passes bytes on, both ways, until one side ends, or it `is_broken` when some came from
    `here`."""
    for end in (here, there):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each write may take 40 ms
    while not closing.is_set():
        readable = select.select([here, there], [], [], 0.02)[0]
        if isinstance(here, ssl.SSLSocket) and here.pending():
            readable = [here]  # decrypted already, which select does not see
        for source in readable:
            if source is here and is_broken is not None and is_broken(here):
                return
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
        self.tls = tls

    def start(self) -> None:
        super().start()
        assert self._server is not None
        accept = self._server.get_request

        def accept_tls() -> tuple[socket.socket, Any]:
            connection, address = accept()
            # The handshake is made by the thread of the connection, with the first byte it reads.
            tls = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return tls, address

        self._server.get_request = accept_tls  # type: ignore[method-assign]

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")
