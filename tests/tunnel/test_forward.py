"""The connections to Sentry: how they are opened, kept, and opened anew."""

from __future__ import annotations

import gc
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk

from collector import Collector
from sentry_segment.tunnel import forward
from sentry_segment.tunnel.forward import Forwarder
from sentry_segment.wire.network import NetworkOptions, ssl_context
from support import Init

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Resetting:
    """A server that answers the first request of each connection, and resets it at the second."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/api/1/envelope/"
        self.connections = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection:
                if not connection.recv(65_536):
                    return
                self.connections += 1
                connection.sendall(ANSWER)
                if connection.recv(65_536):
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

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
    return Forwarder(NetworkOptions(), url, 10.0, 10)


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
    tried = Forwarder(network, f"{collector.url}/api/1/envelope/", 10.0, 10)
    assert tried.post(b"{}", {}).status == 200
    ours = [s for s in gc.get_objects() if type(s) is socket.socket and _leads_to(s, collector)]
    kept_alive = [s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for s in ours]
    tried.close()
    assert kept_alive
    assert all(kept_alive)


def _leads_to(candidate: socket.socket, collector: Collector) -> bool:
    try:
        return bool(candidate.getpeername()[1] == collector.port)
    except OSError:
        return False


def test_the_connections_of_a_tunnel_that_is_forgotten_are_closed(collector: Collector) -> None:
    tried = forwarder(f"{collector.url}/api/1/envelope/")
    assert tried.post(b"{}", {}).status == 200
    ours = [s for s in gc.get_objects() if type(s) is socket.socket and _leads_to(s, collector)]
    assert ours
    del tried
    gc.collect()
    assert {s.fileno() for s in ours} == {-1}
