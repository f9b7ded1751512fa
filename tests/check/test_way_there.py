"""`check` where the way there fails: key, name, certificates, connection, TLS."""

from __future__ import annotations

import socket
import sys
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import trustme

from checking import SHORT, Check, netloc
from collector import Collector, Takeover
from faults import (
    before_reading,
    fault,
    reset,
    silent,
)
from proxy import TlsCollector, server_context
from sentry_segment.wire.api import SegmentApi

# Before the connection


def test_without_a_write_key_nothing_is_tried(
    collector: Collector, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGMENT_WRITE_KEY")
    checked = check(collector.url)
    assert checked.failed == "write key"
    assert "Set SEGMENT_WRITE_KEY, or pass --write-key." in checked.text
    assert not collector.calls


@pytest.mark.parametrize("name", ["nowhere.invalid", "a" * 64 + ".invalid"])
def test_a_name_that_does_not_resolve(check: Check, name: str) -> None:
    checked = check(f"https://{name}")
    assert checked.failed == "name"
    assert f"{name}: " in checked.text
    assert "Does DNS work on this machine" in checked.text
    assert "set HTTPS_PROXY" in checked.text


def test_a_look_up_that_takes_too_long(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        over.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        checked = check("https://slow.invalid", SHORT)
    finally:
        over.set()
    assert checked.failed == "name"
    assert "slow.invalid: no answer within the timeout" in checked.text


def test_the_time_of_the_look_up_counts(
    collector: Collector, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, exchange, left = socket.getaddrinfo, SegmentApi.exchange, []

    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        threading.Event().wait(0.2)
        return look_up(*arguments, **options)

    def timed(api: SegmentApi, messages: Any, retry_count: int, seconds: float, watch: Any) -> Any:
        left.append(seconds)
        return exchange(api, messages, retry_count, seconds, watch)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(SegmentApi, "exchange", timed)
    assert check(f"http://localhost:{collector.port}", "--timeout=30").status == 0
    assert 0 < left[0] <= 29.8


def test_certificates_that_cannot_be_read(
    collector: Collector, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    checked = check(collector.url)
    assert checked.failed == "certificates"
    assert f"{path} from SSL_CERT_FILE" in checked.text


# Connection


def test_a_connection_that_is_refused(check: Check, closed_port: int) -> None:
    checked = check(f"http://127.0.0.1:{closed_port}")
    assert checked.failed == "connection"
    assert "FAILED: refused" in checked.text
    assert f"allow outgoing TCP connections to 127.0.0.1, port {closed_port}" in checked.text
    assert "set HTTP_PROXY" in checked.text


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
def test_a_connection_that_nobody_answers(check: Check) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = [socket.socket() for _ in range(8)]  # more than find room
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        checked = check(f"http://127.0.0.1:{full.getsockname()[1]}", SHORT)
        for other in others:
            other.close()
    assert checked.failed == "connection"
    assert "no answer within the timeout" in checked.text
    assert "a firewall is in the way" in checked.text


def test_a_network_that_has_no_way_there(check: Check) -> None:
    checked = check("http://255.255.255.255")
    assert checked.failed == "connection"
    assert "Check the host and its port" in checked.text


# TLS


def test_an_authority_that_is_unknown(tls_segment: TlsCollector, check: Check) -> None:
    checked = check(tls_segment.url)
    assert checked.failed == "TLS"
    assert "certificates those of certifi" in checked.text
    assert "unable to get local issuer certificate" in checked.text
    assert "set SSL_CERT_FILE" in checked.text


def test_a_certificate_for_another_host(ca: trustme.CA, check: Check, trusted: str) -> None:
    with TlsCollector(server_context(ca, "elsewhere.example")) as elsewhere:
        for url in (elsewhere.url, elsewhere.url.replace("127.0.0.1", "localhost")):
            checked = check(url)
            assert checked.failed == "TLS"
            assert "Another server than the one meant has answered." in checked.text


def test_a_certificate_that_has_expired(ca: trustme.CA, check: Check, trusted: str) -> None:
    then = datetime(2020, 1, 1, tzinfo=timezone.utc)
    context = server_context(ca, not_before=then.replace(year=2019), not_after=then)
    with TlsCollector(context) as late:
        checked = check(late.url)
    assert checked.failed == "TLS"
    assert "certificate has expired" in checked.text
    assert f"clock right? It says {datetime.now(timezone.utc):%Y-}" in checked.text


def test_https_to_a_port_without_tls(collector: Collector, check: Check) -> None:
    takeover = fault(b"HTTP/1.1 400 Bad Request\r\n\r\n").takeover
    assert takeover is not None
    before_reading(collector, takeover)
    checked = check(f"https://{netloc(collector)}")
    assert checked.failed == "TLS"
    assert "its URL begins with http://" in checked.text


def test_plain_http_to_a_port_with_tls(tls_segment: TlsCollector, check: Check) -> None:
    checked = check(f"http://{netloc(tls_segment)}")
    assert checked.failed in ("answer", "request")
    assert "Then its URL begins with https://" in checked.text


def reset_after_hello(connection: socket.socket, closing: threading.Event) -> None:
    connection.recv(1)  # so that the handshake has begun
    reset(connection, closing)


@pytest.mark.parametrize(
    ("takeover", "text"),
    [
        (silent, "The host was reached, and said nothing"),
        (reset_after_hello, "The connection ended in TLS"),
    ],
)
def test_a_handshake_that_is_cut_off(
    collector: Collector, check: Check, takeover: Takeover, text: str
) -> None:
    before_reading(collector, takeover)
    checked = check(f"https://{netloc(collector)}", SHORT)
    assert checked.failed == "TLS"
    assert text in checked.text
