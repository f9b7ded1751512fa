"""The limit of time for one exchange, below HTTP; the rest is in tests/delivery/test_faults.py."""

from __future__ import annotations

import gc
import socket
import time
from queue import SimpleQueue
from typing import Any

import pytest
from sentry_sdk.transport import Transport

from collector import Collector, Reply, Takeover
from faults import (
    OK,
    before_reading,
    dripping,
    fault,
    in_turn,
    reading_slowly,
    reset,
    silent,
)
from proxy import Proxy, TlsCollector
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions
from sentry_segment.wire.verdict import Outcome
from support import Init, capture
from virtual import options


@pytest.mark.parametrize(("takeover", "error"), [(silent, "ReadTimeout"), (reset, "Error")])
def test_a_connection_on_which_nothing_is_read_ends_the_exchange(
    segment: Collector, init: Init, problems: SimpleQueue[str], takeover: Takeover, error: str
) -> None:
    before_reading(segment, takeover)
    integration = init(segment={"host": segment.url, "timeout": 1.0})
    event_id = capture()
    assert error in problems.get(timeout=10.0)
    assert integration.flush(30.0)
    assert {message["messageId"] for message in segment.messages} == {event_id}
    assert integration.stats.retries >= 1


def test_a_tls_handshake_that_stalls_ends_the_exchange(
    tls_segment: TlsCollector, init: Init, ca_file: str
) -> None:
    before_reading(tls_segment, silent)
    integration = init(ca_certs=ca_file, segment={"host": tls_segment.url, "timeout": 1.0})
    event_id = capture()
    assert integration.flush(30.0)
    assert {message["messageId"] for message in tls_segment.messages} == {event_id}
    assert integration.stats.retries >= 1


def test_the_limit_of_time_holds_within_tls(
    tls_segment: TlsCollector, init: Init, ca_file: str
) -> None:
    tls_segment.answer = in_turn(fault(OK + b"X-Drip: ", dripping()))
    integration = init(ca_certs=ca_file, segment={"host": tls_segment.url, "timeout": 1.0})
    event_id = capture()
    assert integration.flush(30.0)
    assert {message["messageId"] for message in tls_segment.messages} == {event_id}
    assert integration.stats.retries >= 1


def test_the_limit_of_time_holds_where_a_server_is_slow_to_read(
    segment: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = socket.create_connection

    def connect_with_small_buffer(*args: Any, **options: Any) -> socket.socket:
        connection = connect(*args, **options)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return connection

    # As on a real network. Locally, the system takes the largest request at once.
    monkeypatch.setattr(socket, "create_connection", connect_with_small_buffer)
    assert segment._server is not None
    segment._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    before_reading(segment, reading_slowly)
    api = SegmentApi(options(segment), NetworkOptions())
    begun = time.monotonic()
    verdict = api.send([b"1" * 10_000] * 40, retry_count=0, time_limit=0.3)
    api.close()
    assert verdict.outcome is Outcome.RETRY
    assert time.monotonic() - begun < 4.0  # all of it takes twice that


def test_a_connection_whose_time_is_over_before_the_handshake_is_closed(
    tls_segment: TlsCollector, ca_file: str
) -> None:
    api = SegmentApi(options(tls_segment), NetworkOptions(ca_certs=ca_file))
    verdicts = [api.send([b"{}"], retry_count=0, time_limit=1e-6) for _ in range(2)]
    assert [verdict.error for verdict in verdicts] == [
        "ReadTimeout: no complete answer within the timeout"
    ] * 2
    gc.collect()  # a socket left open makes a ResourceWarning, which pytest makes an error
    api.close()


def test_a_connection_to_a_socks_proxy_that_refuses_is_closed(segment: Collector) -> None:
    before_reading(segment, lambda connection, _: connection.sendall(b"\x05\xff"))
    proxy = segment.url.replace("http:", "socks5:")
    api = SegmentApi(options(segment), NetworkOptions(http_proxy=proxy))
    assert "ProxyError" in api.send([b"{}"], retry_count=0, time_limit=10.0).error
    api.close()
    del api
    gc.collect()  # as above


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(fault(then=silent), id="silent"),
        pytest.param(fault(OK + b"X-Drip: ", dripping()), id="drips"),
        pytest.param(fault(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), id="refuses"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_ends_the_exchange(
    tls_segment: TlsCollector,
    proxy: Proxy,
    init: Init,
    ca_file: str,
    problems: SimpleQueue[str],
    answer: Reply,
) -> None:
    proxy.instead_of_tunnel = answer.takeover
    integration = init(
        https_proxy=proxy.url,
        ca_certs=ca_file,
        segment={"host": tls_segment.url, "timeout": 1.0},
    )
    capture()
    problems.get(timeout=10.0)
    assert integration.stats.queued == 1
    assert not tls_segment.calls
    proxy.instead_of_tunnel = None
    assert integration.flush(10.0)
    assert len(tls_segment.messages) == 1


class Nowhere(Transport):
    """Sentry's transport, where only Segment's is looked at."""

    def capture_envelope(self, envelope: Any) -> None:
        pass


@pytest.mark.parametrize(
    "proxy",
    ["ftp://user:SECRET@127.0.0.1:1", "http://user:SEC/RET@127.0.0.1:1", "user:SECRET@127.0.0.1:1"],
)
def test_a_proxy_that_cannot_be_used_does_not_show_its_password(
    proxy: str, collector: Collector, init: Init, caplog: pytest.LogCaptureFixture
) -> None:
    integration = init(http_proxy=proxy, transport=Nowhere)
    capture()
    assert not integration.flush(0.5)
    error = integration.stats.last_error
    assert error is not None
    assert "proxy" in error or "Connect" in error
    for part in ("SEC", "RET"):
        assert part not in error
        assert part not in caplog.text
