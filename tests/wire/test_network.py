"""The network between the mirror and Segment: proxies, TLS, and servers that misbehave."""

from __future__ import annotations

import gc
import logging
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import sentry_sdk
import trustme
from sentry_sdk.consts import DEFAULT_OPTIONS
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
from proxy import Proxy, TlsCollector, server_context
from sentry_segment import SegmentIntegration
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions
from sentry_segment.wire.verdict import Outcome, Verdict
from support import Init, capture
from virtual import options


@pytest.fixture
def init(init: Init, monkeypatch: pytest.MonkeyPatch) -> Iterator[Init]:
    """`init`, after which no message is left that waits for a server which is gone."""
    integrations: list[SegmentIntegration] = []

    def init_and_keep(**options: Any) -> SegmentIntegration:
        integrations.append(init(**options))
        return integrations[-1]

    yield init_and_keep
    monkeypatch.setattr(SegmentApi, "send", lambda *_: Verdict(Outcome.DELIVERED))
    for integration in integrations:
        assert integration.flush(30.0)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as running:
        yield running


@pytest.fixture
def problems() -> Iterator[SimpleQueue[str]]:
    """The mirror's log lines, to be waited for."""
    lines: SimpleQueue[str] = SimpleQueue()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.put(record.getMessage())

    handler = Handler()
    logger = logging.getLogger("sentry_segment")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


# Proxies


def test_http_proxy_holds_for_segment(segment: Collector, proxy: Proxy, init: Init) -> None:
    init(http_proxy=proxy.url, segment={"host": segment.url})
    event_id = capture()
    [message] = segment.wait_for_messages(1)
    assert message["messageId"] == event_id
    [request] = proxy.asked_for(f"{segment.url}/v1/track")
    assert request.method == "POST"


def test_https_proxy_holds_for_segment_by_https(
    tls_segment: TlsCollector, proxy: Proxy, init: Init, ca_file: str
) -> None:
    init(https_proxy=proxy.url, ca_certs=ca_file, segment={"host": tls_segment.url})
    capture()
    tls_segment.wait_for_messages(1)
    assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert proxy.asked_for(tls_segment.url.removeprefix("https://"))


def test_http_proxy_is_taken_for_https_too_where_it_is_the_only_one(
    tls_segment: TlsCollector, proxy: Proxy, init: Init, ca_file: str
) -> None:
    init(http_proxy=proxy.url, ca_certs=ca_file, segment={"host": tls_segment.url})
    capture()
    tls_segment.wait_for_messages(1)
    assert proxy.asked_for(tls_segment.url.removeprefix("https://"))


def test_https_proxy_is_not_taken_for_plain_http(
    segment: Collector, proxy: Proxy, init: Init
) -> None:
    init(https_proxy=proxy.url, segment={"host": segment.url})
    capture()
    segment.wait_for_messages(1)
    assert not proxy.requests


def test_a_proxy_may_be_reached_by_https_with_a_certificate_of_ca_certs(
    tls_segment: TlsCollector, init: Init, ca: trustme.CA, ca_file: str
) -> None:
    with Proxy(server_context(ca)) as proxy:
        init(https_proxy=proxy.url, ca_certs=ca_file, segment={"host": tls_segment.url})
        capture()
        tls_segment.wait_for_messages(1)
        assert proxy.asked_for(tls_segment.url.removeprefix("https://"))
        sentry_sdk.get_client().close(timeout=10.0)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_without_the_option_the_environments_proxy_is_taken(
    segment: Collector,
    proxy: Proxy,
    init: Init,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, proxy.url)
    init(segment={"host": segment.url})
    capture()
    segment.wait_for_messages(1)
    assert proxy.asked_for(f"{segment.url}/v1/track")


def test_the_environments_https_proxy_is_taken_for_https(
    tls_segment: TlsCollector,
    proxy: Proxy,
    init: Init,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.netloc)  # as many write it, without the scheme
    init(ca_certs=ca_file, segment={"host": tls_segment.url})
    capture()
    tls_segment.wait_for_messages(1)
    assert proxy.asked_for(tls_segment.url.removeprefix("https://"))


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "example.com, 127.0.0.1"])
def test_no_proxy_excepts_hosts_from_the_environments_proxy(
    segment: Collector,
    proxy: Proxy,
    init: Init,
    monkeypatch: pytest.MonkeyPatch,
    no_proxy: str,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    init(segment={"host": segment.url})
    capture()
    segment.wait_for_messages(1)
    assert not proxy.asked_for(f"{segment.url}/v1/track")


def test_an_empty_http_proxy_is_none_whatever_the_environment_says(
    segment: Collector, proxy: Proxy, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    init(http_proxy="", segment={"host": segment.url})
    capture()
    segment.wait_for_messages(1)
    assert not proxy.requests


def test_an_empty_https_proxy_is_none_whatever_the_environment_says(
    tls_segment: TlsCollector,
    proxy: Proxy,
    init: Init,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    init(https_proxy="", ca_certs=ca_file, segment={"host": tls_segment.url})
    capture()
    tls_segment.wait_for_messages(1)
    assert not proxy.requests


@pytest.mark.parametrize("by", ["option", "environment"])
def test_proxy_headers_are_for_the_proxy(
    tls_segment: TlsCollector,
    proxy: Proxy,
    init: Init,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    if by == "environment":
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    init(
        https_proxy=proxy.url if by == "option" else None,
        proxy_headers={"X-Team": "payments"},
        ca_certs=ca_file,
        segment={"host": tls_segment.url},
    )
    capture()
    tls_segment.wait_for_messages(1)
    [request] = proxy.requests
    assert request.headers["x-team"] == "payments"
    assert "x-team" not in tls_segment.calls[0].headers


def test_the_proxys_user_and_password_are_given_to_it_and_logged_nowhere(
    segment: Collector, proxy: Proxy, init: Init, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sentry_segment")
    segment.answer = lambda call: Reply(400)
    url = proxy.url.replace("//", "//someone:hush@")
    integration = init(http_proxy=url, segment={"host": segment.url})
    capture()
    assert integration.flush(10.0)
    [request] = proxy.asked_for(f"{segment.url}/v1/track")
    credentials = b64encode(b"someone:hush").decode()
    assert request.headers["proxy-authorization"] == f"Basic {credentials}"
    shown = [r.getMessage() for r in caplog.records if r.name == "sentry_segment"]
    assert len(shown) == 1
    assert "hush" not in f"{shown} {integration.stats}"


# TLS

needs_cert_file = pytest.mark.skipif(
    "cert_file" not in DEFAULT_OPTIONS, reason="this SDK has no options for a client's certificate"
)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """A certificate authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> str:
    path = str(tmp_path / "ca.pem")
    ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def tls_segment(ca: trustme.CA) -> Iterator[TlsCollector]:
    """Segment by https, with a certificate of that authority."""
    running = TlsCollector(server_context(ca))
    with running:
        yield running


def test_a_certificate_of_an_unknown_authority_is_refused(
    tls_segment: TlsCollector, init: Init, problems: SimpleQueue[str]
) -> None:
    integration = init(segment={"host": tls_segment.url})
    capture()
    assert "CERTIFICATE_VERIFY_FAILED" in problems.get(timeout=10.0)
    assert "CERTIFICATE_VERIFY_FAILED" in (integration.stats.last_error or "")
    assert integration.stats.queued == 1
    assert not tls_segment.calls


def test_ca_certs_holds_for_segment(tls_segment: TlsCollector, init: Init, ca_file: str) -> None:
    init(ca_certs=ca_file, segment={"host": tls_segment.url})
    capture()
    tls_segment.wait_for_messages(1)


def test_without_the_option_the_environments_ssl_cert_file_is_taken(
    tls_segment: TlsCollector, init: Init, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    init(segment={"host": tls_segment.url})
    capture()
    tls_segment.wait_for_messages(1)


def test_a_certificate_for_another_host_is_refused(
    ca: trustme.CA, init: Init, ca_file: str, problems: SimpleQueue[str]
) -> None:
    with TlsCollector(server_context(ca, "api.segment.io")) as elsewhere:
        integration = init(ca_certs=ca_file, segment={"host": elsewhere.url})
        capture()
        assert "CERTIFICATE_VERIFY_FAILED" in problems.get(timeout=10.0)
        assert integration.stats.queued == 1


@pytest.fixture
def demanding_segment(ca: trustme.CA) -> Iterator[TlsCollector]:
    """Segment by https, for clients that have a certificate of the authority."""
    context = server_context(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    running = TlsCollector(context)
    with running:
        yield running


@needs_cert_file
def test_cert_file_and_key_file_hold_for_segment(
    demanding_segment: TlsCollector, init: Init, ca: trustme.CA, ca_file: str, tmp_path: Path
) -> None:
    client = ca.issue_cert("client.example.com")
    cert_file, key_file = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    client.cert_chain_pems[0].write_to_path(cert_file)
    client.private_key_pem.write_to_path(key_file)
    init(
        ca_certs=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        segment={"host": demanding_segment.url},
    )
    capture()
    demanding_segment.wait_for_messages(1)


@needs_cert_file
def test_cert_file_may_hold_the_key_as_well(
    demanding_segment: TlsCollector, init: Init, ca: trustme.CA, ca_file: str, tmp_path: Path
) -> None:
    both = str(tmp_path / "both.pem")
    ca.issue_cert("client.example.com").private_key_and_cert_chain_pem.write_to_path(both)
    init(ca_certs=ca_file, cert_file=both, segment={"host": demanding_segment.url})
    capture()
    demanding_segment.wait_for_messages(1)


def test_without_the_certificate_that_a_server_demands_the_message_waits(
    demanding_segment: TlsCollector, init: Init, ca_file: str, problems: SimpleQueue[str]
) -> None:
    integration = init(ca_certs=ca_file, segment={"host": demanding_segment.url})
    capture()
    problems.get(timeout=10.0)
    assert integration.stats.queued == 1
    assert not demanding_segment.calls


@pytest.mark.parametrize("option", ["ca_certs", pytest.param("cert_file", marks=needs_cert_file)])
@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_file_of_certificates_that_cannot_be_used_is_named(
    collector: Collector,
    tls_segment: TlsCollector,
    init: Init,
    problems: SimpleQueue[str],
    tmp_path: Path,
    option: str,
    content: str | None,
) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    integration = init(segment={"host": tls_segment.url}, **{option: str(path)})
    capture()
    line = problems.get(timeout=10.0)
    assert option in line
    assert str(path) in line
    assert str(path) in (integration.stats.last_error or "")
    assert integration.stats.queued == 1


def test_a_message_that_waits_for_a_file_is_delivered_once_it_is_there(
    tls_segment: TlsCollector,
    init: Init,
    problems: SimpleQueue[str],
    ca: trustme.CA,
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "late.pem")
    integration = init(ca_certs=path, segment={"host": tls_segment.url})
    capture()
    problems.get(timeout=10.0)
    ca.cert_pem.write_to_path(path)
    assert integration.flush(10.0)
    assert integration.stats.delivered == 1


def test_a_file_of_certificates_that_was_replaced_is_read_anew_after_a_failure(
    tls_segment: TlsCollector,
    init: Init,
    problems: SimpleQueue[str],
    ca_file: str,
) -> None:
    integration = init(ca_certs=ca_file, segment={"host": tls_segment.url})
    capture()
    assert integration.flush(10.0)
    tls_segment.stop()
    successor = trustme.CA()
    tls_segment.tls = server_context(successor)
    tls_segment.start()
    capture()
    assert "CERTIFICATE_VERIFY_FAILED" in problems.get(timeout=10.0)
    successor.cert_pem.write_to_path(ca_file)
    assert integration.flush(10.0)
    assert integration.stats.delivered == 2


# The limit of time for one exchange, below HTTP; the rest is in test_faults.py


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
