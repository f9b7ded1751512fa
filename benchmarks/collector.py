"""Where all messages go: a server in a process of its own that does less than any client.

It has two ports: one for the messages, which may speak TLS, and a plain one on which it is asked
what arrived, and told to hold its answers back. It ends when its standard input does, that is,
with the process that started it at the latest.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any

HOST = "127.0.0.1"

_BODY = b'{"success": true}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)


@dataclass(frozen=True)
class Collector:
    """How a running one is reached."""

    port: int
    control_port: int
    tls: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}"

    def arrivals(self) -> list[tuple[float, int]]:
        """For each request its time, by `time.monotonic()`, and how many messages it had."""
        return [(at, messages) for at, messages in self._ask("arrivals")]

    def messages(self) -> int:
        return int(self._ask("messages"))

    def wait_for(self, messages: int, timeout: float = 60.0) -> float:
        """When the last of so many messages arrived. Fewer, or more, are an error."""
        deadline = time.monotonic() + timeout
        while self.messages() < messages and time.monotonic() < deadline:
            time.sleep(0.02)
        arrivals = self.arrivals()
        arrived = sum(count for _, count in arrivals)
        if arrived != messages:
            raise RuntimeError(f"{arrived} messages arrived, instead of {messages}")
        return max(at for at, _ in arrivals)

    def hold(self) -> None:
        """Answer nothing any more."""
        self._ask("hold")

    def _ask(self, question: str) -> Any:
        with socket.create_connection((HOST, self.control_port)) as connection:
            connection.sendall(question.encode() + b"\n")
            return json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))


class CollectorProcess:
    """Starts a collector, and ends it."""

    def __init__(self, certificate: str | None = None) -> None:
        self._certificate = certificate

    def __enter__(self) -> Collector:
        arguments = [] if self._certificate is None else [self._certificate]
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-m", "benchmarks.collector", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        port, control_port = json.loads(self._process.stdout.readline())
        return Collector(port, control_port, self._certificate is not None)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()


class _Server:
    def __init__(self, certificate: str | None) -> None:
        self.arrivals: list[tuple[float, int]] = []
        self.held = False
        self.context: ssl.SSLContext | None = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)

    def take_messages(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True)
        stream = connection.makefile("rb", buffering=1 << 18)
        while True:
            size, gzipped = 0, False
            if not stream.readline():
                return
            while (line := stream.readline().lower().rstrip()) != b"":
                name, _, value = line.partition(b":")
                if name == b"content-length":
                    size = int(value)
                elif name == b"content-encoding":
                    gzipped = value.strip() == b"gzip"
            body = stream.read(size)
            at = time.monotonic()
            if self.held:
                threading.Event().wait()
            connection.sendall(_ANSWER)
            if gzipped:
                body = zlib.decompress(body, wbits=zlib.MAX_WBITS | 16)
            # A key that each message has once; the second is that of PostHog's.
            self.arrivals.append((at, body.count(b'"messageId"') + body.count(b'"distinct_id"')))

    def be_asked(self, connection: socket.socket) -> None:
        question = connection.makefile("rb").readline().decode().strip()
        if question == "hold":
            self.held = True
        answer: Any = list(self.arrivals)
        if question == "messages":
            answer = sum(count for _, count in answer)
        connection.sendall(json.dumps(answer).encode())

    def serve(self, listener: socket.socket, speak: Any) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._closing, args=(speak, connection), daemon=True).start()

    def _closing(self, speak: Any, connection: socket.socket) -> None:
        with connection:
            try:
                speak(connection)
            except OSError:
                pass  # the client went away


def main() -> None:
    server = _Server(sys.argv[1] if len(sys.argv) > 1 else None)
    ports = []
    for speak in (server.take_messages, server.be_asked):
        listener = socket.create_server((HOST, 0), backlog=128)
        ports.append(listener.getsockname()[1])
        threading.Thread(target=server.serve, args=(listener, speak), daemon=True).start()
    print(json.dumps(ports), flush=True)
    try:
        sys.stdin.read()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
