"""The network between the mirror and Segment: proxies, TLS, and servers that misbehave."""

from __future__ import annotations

import gc
import logging
import ssl
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

from demo.collector import Collector, Reply
from proxy import (
    ERROR,
    OK,
    Behaviour,
    Proxy,
    RawServer,
    TlsCollector,
    after,
    dripping,
    pouring,
    reset,
    reset_unread,
    silent,
    stuck_after,
)
from sentry_segment import SegmentIntegration
from sentry_segment.api import SegmentApi
from sentry_segment.network import NetworkOptions
from sentry_segment.verdict import Outcome, Verdict
from support import Init, capture
from virtual import options


@pytest.fixture(autouse=True)
def _own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("REQUEST_METHOD", raising=False)  # CGI, where HTTP_PROXY is no setting


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
def segment() -> Iterator[Collector]:
    """Segment, on a port of its own."""
    with Collector() as running:
        yield running


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
    with Proxy(_server_context(ca)) as proxy:
        init(https_proxy=proxy.url, ca_certs=ca_file, segment={"host": tls_segment.url})
        capture()
        tls_segment.wait_for_messages(1)
        assert proxy.asked_for(tls_segment.url.removeprefix("https://"))
        sentry_sdk.get_client().close(timeout=10.0)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
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


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "example.com, 127.0.0.1", "*"])
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
    running = TlsCollector(_server_context(ca))
    with running:
        yield running


def _server_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return context


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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("api.segment.io").configure_cert(context)
    with TlsCollector(context) as elsewhere:
        integration = init(ca_certs=ca_file, segment={"host": elsewhere.url})
        capture()
        assert "CERTIFICATE_VERIFY_FAILED" in problems.get(timeout=10.0)
        assert integration.stats.queued == 1


@pytest.fixture
def demanding_segment(ca: trustme.CA) -> Iterator[TlsCollector]:
    """Segment by https, for clients that have a certificate of the authority."""
    context = _server_context(ca)
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


# The limit of time for one exchange, and answers that are none


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(silent, id="accepts and never answers"),
        pytest.param(stuck_after(b""), id="reads and never answers"),
        pytest.param(stuck_after(b"HTTP/1.1 2"), id="half a status line"),
        pytest.param(stuck_after(OK + b"Content-Type: "), id="half a head"),
        pytest.param(dripping(OK + b"X-Drip: "), id="drips a header"),
        pytest.param(dripping(OK, b"X-Drip: 1\r\n"), id="drips headers"),
        pytest.param(dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="drips 100 Continue"),
        pytest.param(dripping(b"HTTP/1.1 200 ", b"O"), id="drips the status line"),
        pytest.param(dripping(ERROR + b"Content-Length: 9999\r\n\r\n"), id="500, drips the body"),
        pytest.param(pouring(ERROR + b"\r\n"), id="500, endless body"),
        pytest.param(pouring(OK + b"X-Endless: "), id="endless header"),
        pytest.param(reset, id="resets"),
        pytest.param(reset_unread, id="resets at once"),
        pytest.param(after(b""), id="closes without an answer"),
        pytest.param(after(OK), id="closes within the head"),
        pytest.param(after(b"\x00\xff\xfe\r\n\r\n"), id="bytes"),
        pytest.param(after(b"SSH-2.0-OpenSSH_9.6\r\n"), id="another protocol"),
        pytest.param(after(b"HTTP/1.1 abc\r\n\r\n"), id="no status"),
        pytest.param(after(OK + b"Content-Length: abc\r\n\r\n"), id="no length"),
    ],
)
def test_an_exchange_without_an_answer_ends_and_is_made_again(
    init: Init, behaviour: Behaviour
) -> None:
    with RawServer(behaviour) as server:
        integration = init(segment={"host": server.url, "timeout": 0.3})
        capture()
        assert integration.flush(30.0)
        assert integration.stats.delivered == 1
        assert integration.stats.retries >= 1
        assert integration.stats.last_error
        assert server.connections >= 2


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(after(OK + b"\r\n{}"), id="body until the end"),
        pytest.param(after(OK + b"Content-Length: 99\r\n\r\n{}"), id="half a body"),
        pytest.param(after(OK + b"Transfer-Encoding: chunked\r\n\r\nnone"), id="broken chunks"),
        pytest.param(after(OK + b"Content-Encoding: gzip\r\n\r\nnone"), id="broken gzip"),
        pytest.param(stuck_after(OK + b"Content-Length: 2\r\n\r\n"), id="no body"),
        pytest.param(dripping(OK + b"Content-Length: 9999\r\n\r\n"), id="drips the body"),
        pytest.param(pouring(OK + b"\r\n"), id="endless body"),
        pytest.param(after(b"HTTP/1.0 200 OK\r\n\r\n"), id="HTTP/1.0"),
        pytest.param(after(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), id="204"),
    ],
)
def test_whatever_follows_a_2xx_the_message_is_delivered_and_the_next_one_too(
    init: Init, behaviour: Behaviour
) -> None:
    with RawServer(behaviour) as server:
        integration = init(segment={"host": server.url, "timeout": 1.0})
        capture()
        assert integration.flush(30.0)
        capture()
        assert integration.flush(30.0)
        assert integration.stats.delivered == 2
        assert integration.stats.retries == 0


def test_a_tls_handshake_that_stalls_ends_the_exchange(
    init: Init, ca: trustme.CA, ca_file: str
) -> None:
    with RawServer(silent, tls=_server_context(ca), handshake=False) as server:
        integration = init(ca_certs=ca_file, segment={"host": server.url, "timeout": 0.3})
        capture()
        assert integration.flush(30.0)
        assert integration.stats.delivered == 1
        assert integration.stats.retries >= 1


def test_the_limit_of_time_holds_within_tls(init: Init, ca: trustme.CA, ca_file: str) -> None:
    drip = dripping(OK + b"X-Drip: ")
    with RawServer(drip, tls=_server_context(ca)) as server:
        integration = init(ca_certs=ca_file, segment={"host": server.url, "timeout": 0.3})
        capture()
        assert integration.flush(30.0)
        assert integration.stats.delivered == 1
        assert integration.stats.retries >= 1


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


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(silent, id="silent"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nX-Drip: "), id="drips"),
        pytest.param(after(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), id="refuses"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_ends_the_exchange(
    tls_segment: TlsCollector,
    init: Init,
    ca_file: str,
    problems: SimpleQueue[str],
    behaviour: Behaviour,
) -> None:
    with RawServer(behaviour) as server:
        integration = init(
            https_proxy=server.url,
            ca_certs=ca_file,
            segment={"host": tls_segment.url, "timeout": 0.3},
        )
        capture()
        problems.get(timeout=10.0)
        assert integration.stats.queued == 1
        assert not tls_segment.calls


def test_a_server_that_nobody_runs_is_tried_again_until_it_is_there(
    segment: Collector, init: Init, problems: SimpleQueue[str]
) -> None:
    segment.stop()
    integration = init(segment={"host": segment.url})
    capture()
    assert "ConnectError" in problems.get(timeout=10.0)
    assert integration.stats.queued == 1
    segment.start()
    assert integration.flush(10.0)
    assert integration.stats.delivered == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(
    collector: Collector,
    segment: Collector,
    init: Init,
    problems: SimpleQueue[str],
    status: int,
) -> None:
    segment.answer = lambda call: Reply(status, headers={"Location": f"{collector.url}/v1/track"})
    integration = init(segment={"host": segment.url})
    capture()
    assert integration.flush(10.0)
    assert len(segment.calls) == 1
    assert not collector.calls
    assert integration.stats.dropped["send_error"] == 1
    assert "redirects are not followed" in problems.get(timeout=10.0)


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
