"""The connections to Sentry: how they are opened, kept, and opened anew."""

from __future__ import annotations

import gc
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import sentry_sdk

from collector import Collector
from sentry_segment.tunnel import forward
from sentry_segment.tunnel.forward import Forwarder
from sentry_segment.wire.network import NetworkOptions, ssl_context
from support import Init
from tunnels import EVENT, envelope

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Resetting:
    """A server that answers the first request of each connection, and resets it at the second; or
    at the first, where `answers` is no longer set."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/api/1/envelope/"
        self.connections = 0
        self.answers = True
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            connection.settimeout(60.0)
            with connection, suppress(OSError):
                if not self._has_request(connection):
                    return
                self.connections += 1
                answers = self.answers
                if answers:
                    connection.sendall(ANSWER)
                if not answers or self._has_request(connection):
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _has_request(self, connection: socket.socket) -> bool:
        """Whether another came, which it waits for. Its body is `{}`, and comes by itself."""
        received = b""
        while not received.endswith(b"{}"):
            part = connection.recv(65_536)
            if not part:
                return False
            received += part
        return True

    def stop(self) -> None:
        socket.create_connection(self._listening.getsockname()).close()
        self._thread.join()
        self._listening.close()


@pytest.fixture
def resetting() -> Iterator[Resetting]:
    server = Resetting()
    yield server
    server.stop()


def forwarder(url: str) -> Forwarder:
    return Forwarder(NetworkOptions(), url, 10.0)


def gone() -> str:
    """The URL of a Sentry that is down."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}/api/1/envelope/"


def test_what_goes_into_a_connection_that_is_just_being_reset_goes_on_by_another(
    resetting: Resetting,
) -> None:
    tried = forwarder(resetting.url)
    assert [tried.post(b"{}", {}).status for _ in range(3)] == [200, 200, 200]
    assert resetting.connections == 3
    tried.close()


class Dripping:
    """A server whose answer comes byte by byte, for longer than anybody's patience."""

    def __init__(self, start: bytes, rest: bytes) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/api/1/envelope/"
        self._start, self._rest = start, rest
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(self._start)
            for byte in self._rest:
                if self._over.wait(0.05):
                    return
                connection.sendall(bytes([byte]))

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._listening.close()


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 400 + b"\r\nContent-Length: 0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n", b"x" * 400),
    ],
    ids=["head", "body"],
)
def test_an_answer_that_comes_byte_by_byte_is_waited_for_no_longer(
    start: bytes, rest: bytes
) -> None:
    server = Dripping(start, rest)
    tried = Forwarder(NetworkOptions(), server.url, 0.3)
    assert tried.post(b"{}", {}).status == 504
    tried.close()
    server.stop()


def test_what_breaks_a_new_connection_is_told(resetting: Resetting) -> None:
    tried = forwarder(resetting.url)
    tried.post(b"{}", {})
    resetting.answers = False
    assert tried.post(b"{}", {}).status == 502  # the one that waited, and another
    assert resetting.connections == 2
    tried.close()


def test_connections_that_nobody_needs_are_closed(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(forward, "monotonic", lambda: now[0])
    both_are_there = threading.Barrier(2, timeout=60.0)

    def together(side: str, payload: Any) -> None:
        both_are_there.wait()

    collector.on_arrival = together
    tried = forwarder(f"{collector.url}/api/1/envelope/")
    with ThreadPoolExecutor(2) as pool:
        error = envelope("", ("event", EVENT))
        answers = list(pool.map(lambda _: tried.post(error, {}).status, range(2)))
    assert answers == [200, 200]
    collector.on_arrival = None
    assert len(_open_to(collector)) == 2
    for passed, left in ((20.0, 2), (20.0, 1), (50.0, 1)):
        now[0] += passed  # the third time, the one that is left has waited for too long
        assert tried.post(b"{}", {}).status == 200
        assert len(_open_to(collector)) == left
    tried.close()
    assert _open_to(collector) == []


def test_one_connection_serves_requests_one_after_the_other(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    connects: list[object] = []
    real = socket.create_connection

    def counted(*given: Any, **named: Any) -> socket.socket:
        connects.append(given)
        return real(*given, **named)

    monkeypatch.setattr(socket, "create_connection", counted)
    tried = forwarder(f"{collector.url}/api/1/envelope/")
    assert [tried.post(b"{}", {}).status for _ in range(3)] == [200, 200, 200]
    assert len(connects) == 1
    tried.close()


def test_while_sentry_is_down_certificates_are_not_read_anew_for_each_envelope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, reads = [100.0], []

    def counted(network: NetworkOptions) -> object:
        reads.append(now[0])
        return ssl_context(network)

    monkeypatch.setattr(forward, "ssl_context", counted)
    monkeypatch.setattr(forward, "monotonic", lambda: now[0])
    tried = forwarder(gone())
    assert [tried.post(b"{}", {}).status for _ in range(5)] == [502] * 5
    assert reads == [100.0]
    now[0] += 60  # they may have been replaced meanwhile
    tried.post(b"{}", {})
    assert reads == [100.0, 160.0]


def test_no_name_of_httpx_is_given_where_the_browser_gives_none(collector: Collector) -> None:
    tried = forwarder(f"{collector.url}/api/1/envelope/")
    tried.post(b"{}", {})
    tried.close()
    [(_, headers, _)] = collector.sentry_requests
    assert set(headers) == {"host", "content-length"}


def test_the_socket_options_of_the_sdk_hold_for_browsers_envelopes(
    collector: Collector, init: Init
) -> None:
    init(keep_alive=True)
    network = NetworkOptions.from_sentry(sentry_sdk.get_client().options)
    tried = Forwarder(network, f"{collector.url}/api/1/envelope/", 10.0)
    assert tried.post(b"{}", {}).status == 200
    ours = _open_to(collector)
    kept_alive = [s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for s in ours]
    tried.close()
    assert kept_alive
    assert all(kept_alive)


def _open_to(collector: Collector) -> list[socket.socket]:
    return [s for s in gc.get_objects() if type(s) is socket.socket and _leads_to(s, collector)]


def _leads_to(candidate: socket.socket, collector: Collector) -> bool:
    try:
        return bool(candidate.getpeername()[1] == collector.port)
    except OSError:
        return False


def test_the_connections_of_a_tunnel_that_is_forgotten_are_closed(collector: Collector) -> None:
    tried = forwarder(f"{collector.url}/api/1/envelope/")
    assert tried.post(b"{}", {}).status == 200
    ours = _open_to(collector)
    assert ours
    del tried
    gc.collect()
    assert {s.fileno() for s in ours} == {-1}
