"""`python -m sentry_segment check`: the way to Segment, step by step, and what to do."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sentry_sdk
import trustme

from collector import Collector, Reply, Takeover
from faults import (
    OK,
    before_reading,
    dripping,
    fault,
    knows_batch_alone,
    pouring,
    reset,
    silent,
)
from pages import BLOCKS, rows
from proxy import Proxy, TlsCollector, server_context
from sentry_segment import SegmentIntegration, __version__
from sentry_segment.__main__ import main
from sentry_segment.check.report import Report
from sentry_segment.check.route import Route
from sentry_segment.check.steps import Steps, whose
from sentry_segment.wire.api import SegmentApi
from support import MEASURED, WRITE_KEY
from token_server import CLIENT_ID, KEY_ID, TokenServer

CREDENTIALS = b64encode(f"{WRITE_KEY}:".encode()).decode()
SHORT = "--timeout=1.5"


class Checked(NamedTuple):
    """What a check ended with."""

    status: int
    out: str
    """As printed."""

    @property
    def text(self) -> str:
        """Without the line breaks."""
        return " ".join(self.out.split())

    @property
    def steps(self) -> list[str]:
        return re.findall(r"^([a-zA-Z][a-zA-Z ]*?)  ", self.out, re.MULTILINE)

    @property
    def failed(self) -> str:
        """The step that failed."""
        assert self.status == 1, self.out
        [line] = [line for line in self.out.splitlines() if " FAILED:" in line]
        assert line.startswith(self.steps[-1])
        assert len(set(self.steps)) == len(self.steps) or "is not known there" in self.out
        return self.steps[-1]


Check = Callable[..., Checked]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """`check(host, *arguments)`: run in this process, with the write key in the environment."""
    monkeypatch.setenv("SEGMENT_WRITE_KEY", WRITE_KEY)

    def check(host: str, *arguments: str) -> Checked:
        status = main(["check", f"--host={host}", *arguments])
        out, err = capsys.readouterr()
        assert not err
        assert WRITE_KEY not in out
        assert CREDENTIALS not in out
        assert out.replace("\n", "").isprintable()
        return Checked(status, out)

    return check


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA(organization_name="Example Trust")


@pytest.fixture
def trusted(ca: trustme.CA, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The authority is known to this machine; the file of its certificate."""
    path = str(tmp_path / "ca.pem")
    ca.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", path)
    return path


@pytest.fixture
def tls_segment(ca: trustme.CA) -> Iterator[TlsCollector]:
    running = TlsCollector(server_context(ca))
    with running:
        yield running


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as running:
        yield running


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections, for it is taken and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def netloc(collector: Collector) -> str:
    return collector.url.partition("://")[2]


# Delivered


def test_a_message_that_is_taken_is_reported_with_its_id(
    collector: Collector, check: Check
) -> None:
    checked = check(collector.url)
    assert checked.status == 0
    assert checked.steps == ["write key", "host", "proxy", "connection", "request", "answer"]
    [call] = collector.calls
    assert call.path == "/v1/track"
    assert call.write_key == WRITE_KEY
    message = call.json
    assert checked.out.splitlines()[-1] == message["messageId"]
    assert f"POST {collector.url}/v1/track, {len(call.body)} bytes" in checked.text
    assert 'HTTP 200: {"success": true}' in checked.text
    assert "where that server shows what arrives" in checked.text


def test_the_message_cannot_be_taken_for_an_error(collector: Collector, check: Check) -> None:
    begun = datetime.now(timezone.utc)
    check(collector.url)
    check(collector.url)
    first, second = collector.messages
    assert first["messageId"] != second["messageId"]
    assert begun <= datetime.fromisoformat(first["timestamp"].replace("Z", "+00:00"))
    del first["messageId"], first["timestamp"], first["sentAt"]
    assert first == {
        "type": "track",
        "userId": "sentry-segment-check",
        "event": "Sentry Segment Check",
        "properties": {"test": True, "sentBy": "python -m sentry_segment check"},
        "context": {"library": {"name": "sentry", "version": __version__}},
        "integration": {"name": "sentry", "version": __version__},
    }


def test_the_request_is_made_as_the_integration_makes_them(
    collector: Collector, check: Check
) -> None:
    check(collector.url)
    sentry_sdk.init(
        dsn=collector.dsn, integrations=[SegmentIntegration(WRITE_KEY, host=collector.url)]
    )
    sentry_sdk.capture_event({"exception": {"values": [{"type": "E"}]}, "user": {"id": "u1"}})
    assert collector.wait_for(lambda: len(collector.calls) == 2)
    sentry_sdk.get_client().close()
    ours, real = (call.headers for call in collector.calls)
    del ours["content-length"], real["content-length"]
    assert ours == real


def test_nothing_is_sent_to_sentry(collector: Collector, segment: Collector, check: Check) -> None:
    sentry_sdk.init(dsn=collector.dsn, traces_sample_rate=1.0)
    with sentry_sdk.start_transaction(name="t"):
        assert check(segment.url).status == 0
        sentry_sdk.capture_message("after it")
    sentry_sdk.flush()
    assert "baggage" not in segment.calls[0].headers
    assert "sentry-trace" not in segment.calls[0].headers
    [event] = collector.events
    assert segment.url not in str(event)  # nor a breadcrumb; an old SDK leaves some of its own
    [transaction] = [payload for kind, payload in collector.items if kind == "transaction"]
    assert not transaction["spans"]


def test_the_write_key_may_be_an_argument(
    collector: Collector, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMENT_WRITE_KEY", "another-key")
    checked = check(collector.url, "--write-key", WRITE_KEY)
    assert collector.calls[0].write_key == WRITE_KEY
    assert "…cdef from --write-key" in checked.text
    monkeypatch.setenv("SEGMENT_WRITE_KEY", WRITE_KEY)
    assert "…cdef from SEGMENT_WRITE_KEY" in check(collector.url).text


def test_tls_shows_its_version_and_whose_certificate_it_is(
    tls_segment: TlsCollector, check: Check, trusted: str
) -> None:
    checked = check(tls_segment.url)
    assert checked.status == 0
    assert f"certificates {trusted} from SSL_CERT_FILE" in checked.text
    pattern = (
        r"TLSv1\.\d; certificate of 127\.0\.0\.1 by Example Trust, valid until \d{4}-\d\d-\d\d"
    )
    assert re.search(pattern, checked.text)


@pytest.mark.parametrize(
    ("issuer", "by"),
    [
        ({"organizationName": "Example Trust", "commonName": "Root 1"}, "Example Trust"),
        ({"commonName": "Root 1"}, "Root 1"),
        ({}, "?"),
    ],
)
@pytest.mark.parametrize(
    ("names", "of"), [("a", "a"), ("abc", "a, b, c"), ("abcd", "a, b, c and others")]
)
def test_a_certificate_is_shown_by_its_names_and_its_issuer(
    names: str, of: str, issuer: dict[str, str], by: str
) -> None:
    certificate = {
        "subjectAltName": tuple(("DNS", name) for name in names),
        "issuer": tuple(((key, value),) for key, value in issuer.items()),
        "notAfter": "Jan  5 09:34:43 2028 GMT",
    }
    assert whose(certificate) == f"of {of} by {by}, valid until 2028-01-05"


def test_a_certificate_may_name_more_than_hosts() -> None:
    names = (("DirName", ((("commonName", "a"),),)), ("DNS", "b"))
    certificate = {"subjectAltName": names, "issuer": (), "notAfter": "Jan  5 09:34:43 2028 GMT"}
    assert re.search("of .*commonName.*, b by", whose(certificate))


def test_a_name_is_resolved_first(collector: Collector, check: Check) -> None:
    checked = check(collector.url.replace("127.0.0.1", "localhost"))
    assert checked.status == 0
    assert checked.steps[3:5] == ["name", "connection"]
    assert re.search(r"localhost is (::1, )?127\.0\.0\.1", checked.text)


def test_a_connection_that_is_reset_at_once_has_no_address_to_show(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Stream:
        def get_extra_info(self, info: str) -> Any:
            raise OSError("not connected")  # as `getpeername` then does

    steps = Steps(Report(str), Route("http://segment.example.com", None, "HTTP_PROXY"))
    steps.trace("connection.connect_tcp.complete", {"return_value": Stream()})
    assert "ms   segment.example.com, port 80\n" in capsys.readouterr().out


def test_of_many_addresses_some_are_shown(
    collector: Collector, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", collector.port))]
    every += [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", 1)) for n in range(2, 7)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: every)
    checked = check(f"http://many.localhost:{collector.port}")
    assert "127.0.0.1, 127.0.0.2, 127.0.0.3, 127.0.0.4 and 2 more" in checked.text


def test_plain_http_over_a_network_is_remarked(proxy: Proxy, check: Check) -> None:
    checked = check("http://nowhere.invalid")
    assert "the write key cross the network unencrypted" in checked.text


# Proxies


def test_the_proxy_in_use_is_shown_without_its_password(
    collector: Collector, proxy: Proxy, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//someone:hush@"))
    checked = check(collector.url)
    assert checked.status == 0
    assert f"proxy {proxy.url} from HTTP_PROXY" in checked.text
    assert "hush" not in checked.out
    assert proxy.asked_for(f"{collector.url}/v1/track")


def test_no_proxy_is_heeded(
    collector: Collector, check: Check, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{closed_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    checked = check(collector.url)
    assert checked.status == 0
    assert "proxy none" in checked.text


def test_a_tunnel_is_a_step_of_its_own(
    tls_segment: TlsCollector,
    ca: trustme.CA,
    check: Check,
    trusted: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Proxy(server_context(ca)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        checked = check(tls_segment.url)
    assert checked.status == 0
    assert checked.steps[4:] == ["connection", "TLS to proxy", "tunnel", "TLS", "request", "answer"]
    assert "from https_proxy" in checked.text


def test_a_socks_proxy_is_asked_for_a_tunnel(
    collector: Collector, segment: Collector, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak_socks(collector)
    monkeypatch.setenv("HTTP_PROXY", f"socks5://{netloc(collector)}")
    checked = check("http://segment.invalid")
    assert checked.status == 0
    assert checked.steps[3:] == ["connection", "tunnel", "request", "answer"]


def speak_socks(collector: Collector) -> None:
    """Have the collector open a tunnel, to itself (RFC 1928)."""
    server = collector._server
    assert server is not None
    finish = server.finish_request

    def after_greeting(request: Any, client_address: Any) -> None:
        assert request.recv(3) == b"\x05\x01\x00"
        request.sendall(b"\x05\x00")
        assert b"segment.invalid" in request.recv(262)
        request.sendall(b"\x05\x00\x00\x01" + bytes(6))
        finish(request, client_address)

    server.finish_request = after_greeting  # type: ignore[method-assign]


@pytest.mark.parametrize("via", ["127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_a_proxy_that_is_down(
    check: Check, closed_port: int, monkeypatch: pytest.MonkeyPatch, via: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", via.format(closed_port))
    checked = check("https://api.segment.io")
    assert checked.failed == "connection"
    assert "FAILED: refused The proxy can't be reached." in checked.text
    assert "Is HTTPS_PROXY right?" in checked.text


def test_a_proxy_whose_name_is_not_found(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://nowhere.invalid:3128")
    checked = check("https://api.segment.io")
    assert checked.failed == "name"
    assert "Is the proxy's name in HTTPS_PROXY right?" in checked.text


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (b"403 Forbidden", "Have the proxy allow connections to api.segment.io."),
        (b"407 Authenticate", "HTTPS_PROXY=http://user:password@proxy:port"),
    ],
)
def test_a_proxy_that_refuses_a_tunnel(
    proxy: Proxy, check: Check, monkeypatch: pytest.MonkeyPatch, status: bytes, advice: str
) -> None:
    proxy.instead_of_tunnel = fault(b"HTTP/1.1 %s\r\n\r\n" % status).takeover
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    checked = check("https://api.segment.io")
    assert checked.failed == "tunnel"
    assert f"the proxy answered HTTP {status[:3].decode()}" in checked.text
    assert advice in checked.text


def test_a_proxy_that_wants_a_password_for_plain_http(
    collector: Collector, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.answer = lambda call: Reply(407)
    monkeypatch.setenv("HTTP_PROXY", collector.url)
    checked = check("http://segment.invalid")
    assert checked.failed == "answer"
    assert "HTTP_PROXY=http://user:password@proxy:port" in checked.text


def test_a_socks_proxy_that_refuses(
    collector: Collector, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_reading(collector, lambda connection, _: connection.sendall(b"\x05\xff"))
    monkeypatch.setenv("HTTP_PROXY", f"socks5://{netloc(collector)}")
    checked = check("http://segment.invalid")
    assert checked.failed == "tunnel"
    assert "Have the proxy allow connections to segment.invalid." in checked.text


def test_a_proxy_that_says_nothing(
    proxy: Proxy, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.instead_of_tunnel = silent
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    checked = check("https://api.segment.io", SHORT)
    assert checked.failed == "tunnel"
    assert "The proxy was reached, and said nothing" in checked.text


@pytest.mark.parametrize(
    "url",
    [
        "ftp://someone:hush@127.0.0.1:1",
        "http://someone:hu/sh@127:1",
        "http://hush:12/hush@127.0.0.1:1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
    ],
)
def test_a_proxy_whose_url_cannot_be_used(
    check: Check, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    checked = check("https://api.segment.io")
    assert checked.failed == "proxy"
    assert "Look at HTTPS_PROXY" in checked.text
    assert "hu" not in checked.text


def test_a_socks_proxy_needs_a_package(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    checked = check("https://api.segment.io")
    assert checked.failed == "proxy"
    assert "httpx[socks]" in checked.text


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


# The docs


def test_the_output_in_the_docs_is_real(
    ca: trustme.CA, check: Check, trusted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for addresses, times, the id and the file of certificates."""
    monkeypatch.setenv("SEGMENT_WRITE_KEY", "wk_0123456789_wxyz")
    resolve = socket.getaddrinfo
    with TlsCollector(server_context(ca, "api.segment.io")) as segment:

        def getaddrinfo(host: str, *_: object, **__: object) -> Any:
            return resolve("127.0.0.1", segment.port, type=socket.SOCK_STREAM)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        taken = check("https://api.segment.io")
        monkeypatch.delenv("SSL_CERT_FILE")
        refused = check("https://api.segment.io")
    assert (taken.status, refused.status) == (0, 1)
    shown = [
        block.text
        for block in BLOCKS
        if block.language == "text" and block.heading == "Can this machine deliver?"
    ]
    file = rf"{re.escape(trusted)}\s+from\s+SSL_CERT_FILE"
    real = [re.sub(file, "those of certifi", each.out) for each in (taken, refused)]
    assert list(map(same_each_time, shown)) == list(map(same_each_time, real))


def same_each_time(text: str) -> list[str]:
    for pattern, instead in [
        (r" +\d+\.\d+ m?s ", " 1 ms "),
        (r"198\.51\.100\.6|127\.0\.0\.1", "ADDRESS"),
        (r"port \d+", "PORT"),
        (r"until\s+\d+-\d+-\d+", "until DATE"),
        (r"\b[0-9a-f]{32}\b", "ID"),
    ]:
        text = re.sub(pattern, instead, text)
    return text.splitlines()


def test_the_test_message_is_in_the_docs(collector: Collector, check: Check) -> None:
    check(collector.url)
    [message] = collector.messages
    shown = dict(rows("docs/what-is-sent.md", "in it | value"))
    fields = {field for cell in shown for field in re.findall(r"`([a-zA-Z]+)", cell)}
    assert fields | {"type", "sentAt", "integration"} == set(message)
    for field in ("event", "userId"):
        assert shown[f"`{field}`"] == f"`{message[field]}`"
    for key, value in message["properties"].items():
        assert (
            f"`{key}`, which is `{str(value).lower() if value is True else value}`"
            in shown["`properties`"]
        )


# Answers


@pytest.mark.parametrize(
    ("status", "text", "advice", "consequence"),
    [
        (400, "Bad Request", "the answer may say why", "given up"),
        (401, "Unauthorized", "in the EU https://events.eu1.segmentapis.com", "given up"),
        (403, "Forbidden", "The write key was refused", "given up"),
        (404, "Not Found", "neither /v1/track nor /v1/batch on it", "given up"),
        (405, "Method Not Allowed", "neither /v1/track nor /v1/batch on it", "given up"),
        (429, "Too Many Requests", "Try again later", "kept"),
        (460, "", "the answer may say why", "kept"),
        (503, "Service Unavailable", "the server has a problem", "kept"),
    ],
)
def test_an_answer_that_refuses(
    collector: Collector, check: Check, status: int, text: str, advice: str, consequence: str
) -> None:
    collector.answer = lambda call: Reply(status, body=b'{"message": "no"}')
    checked = check(collector.url)
    assert checked.failed == "answer"
    assert f'FAILED: HTTP {status} {text}: {{"message": "no"}}'.replace(" :", ":") in checked.text
    assert advice in checked.text
    assert f"Errors would be {consequence}" in checked.text
    assert len(collector.calls) == (2 if status in (404, 405) else 1)


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_that_knows_the_path_for_batches_alone_is_told(
    collector: Collector, check: Check, status: int
) -> None:
    collector.answer = knows_batch_alone(status)
    checked = check(collector.url)
    assert checked.status == 0
    assert checked.steps[-4:] == ["request", "answer", "request", "answer"]
    assert f"HTTP {status}: /v1/track is not known there" in checked.text
    assert f"POST {collector.url}/v1/batch, " in checked.text
    assert "The server knows /v1/batch, and not /v1/track." in checked.text
    assert len(collector.messages) == 1


def test_a_server_error_behind_a_proxy_may_be_the_proxys(
    collector: Collector, proxy: Proxy, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    collector.answer = lambda call: Reply(502)
    assert "the proxy or the server behind it has a problem" in check(collector.url).text


def test_retry_after_is_shown(collector: Collector, check: Check) -> None:
    collector.answer = lambda call: Reply(429, {"Retry-After": "7"})
    assert "It asks for a pause of 7 s." in check(collector.url).text


@pytest.mark.parametrize(
    "location", ["https://events.example.com/v1/track", "https://events.example.com:80a/", ""]
)
def test_a_redirect_is_shown_and_not_followed(
    collector: Collector, check: Check, location: str
) -> None:
    collector.answer = lambda call: Reply(301, {"Location": location} if location else {})
    checked = check(collector.url)
    assert checked.failed == "answer"
    to = f" ({location})" if location else ""
    assert f"give the final address{to} as host" in checked.text
    assert len(collector.calls) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b'"OK"'])
def test_an_answer_of_a_collector_is_not_remarked(
    collector: Collector, check: Check, body: bytes
) -> None:
    collector.answer = lambda call: Reply(body=body)
    checked = check(collector.url)
    assert checked.status == 0
    assert "JSON" not in checked.text


@pytest.mark.parametrize("body", ["OK, thanks", 10_000 * "["])
def test_an_answer_that_is_not_json_is_remarked(
    collector: Collector, check: Check, body: str
) -> None:
    collector.answer = lambda call: Reply(body=body.encode())
    checked = check(collector.url)
    assert checked.status == 0
    assert re.search(r"HTTP 200: (OK, thanks|\[+) The answer is not JSON", checked.text)


def test_a_web_page_in_the_place_of_an_answer_is_a_failure(
    collector: Collector, check: Check
) -> None:
    collector.answer = lambda call: Reply(body=b"\n<!doctype html><title>Hotel</title>")
    checked = check(collector.url)
    assert checked.failed == "answer"
    assert "a log-in page" in checked.text


@pytest.mark.parametrize("then", [dripping(), pouring])
def test_an_answer_that_never_ends_counts_by_its_status(
    collector: Collector, check: Check, then: Takeover
) -> None:
    collector.answer = lambda call: fault(OK + b"\r\n", then, taken=True)
    checked = check(collector.url, SHORT)
    assert checked.status == 0
    assert "the answer had no end" in checked.text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (fault(then=silent), "The host was reached, and said nothing"),
        (fault(OK + b"X-Drip: ", dripping()), "said nothing, or too little"),
        (fault(then=reset), "The connection ended before a whole answer"),
        (fault(), "The connection ended before a whole answer"),
        (fault(b"SSH-2.0-OpenSSH\r\n"), "what came was not HTTP"),
    ],
    ids=["silent", "drips", "resets", "ends", "not HTTP"],
)
def test_an_answer_that_is_none(
    collector: Collector, check: Check, answer: Reply, text: str
) -> None:
    collector.answer = lambda call: answer
    checked = check(collector.url, SHORT)
    assert checked.failed == "answer"
    assert text in checked.text


def test_what_a_hostile_server_says_is_harmless(collector: Collector, check: Check) -> None:
    """The key in full, in its encoded form, cut by the end of the excerpt; control characters."""
    hostile = f"\x1b[2J\x07\u202e {WRITE_KEY} {CREDENTIALS} ".encode()
    collector.answer = lambda call: Reply(
        401, {"Location": WRITE_KEY}, hostile + b"." * 130 + WRITE_KEY.encode()
    )
    checked = check(collector.url)  # whose fixture looks for the key, and at the characters
    assert checked.failed == "answer"
    assert "?[2J??" in checked.text
    assert WRITE_KEY[:8] not in checked.text


def test_the_write_key_is_not_shown_in_an_error_either(collector: Collector, check: Check) -> None:
    collector.answer = lambda call: fault(f"{WRITE_KEY} {CREDENTIALS}\r\n\r\n".encode())
    checked = check(collector.url)
    assert checked.failed == "answer"
    assert "…cdef …cdef" in checked.text


# The write key


@pytest.mark.parametrize("quoted", [f'"{WRITE_KEY}"', f"'{WRITE_KEY}", f"\u201c{WRITE_KEY}\u201d"])
def test_quotes_around_the_write_key_are_said_without_it(
    quoted: str,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SEGMENT_WRITE_KEY", quoted)
    monkeypatch.setenv("SEGMENT_HOST", collector.url)
    for arguments in (["--write-key", quoted], []):
        with pytest.raises(SystemExit) as ended:
            main(["check", *arguments])
        assert ended.value.code == 2
        shown = " ".join(capsys.readouterr().err.split())
        assert "got one with quotes around it" in shown
        assert WRITE_KEY not in shown
    assert collector.messages == []


@pytest.mark.parametrize(
    "placeholder",
    [
        *("your-write-key", "YOUR_WRITE_KEY", "<write key>", "${SEGMENT_WRITE_KEY}", "any-key"),
        *("{{ segment_key }}", "xxxxxxxxxxxx", "changeme", "test", "..."),
    ],
)
def test_a_placeholder_for_a_write_key_is_said_and_tried(
    placeholder: str, collector: Collector, check: Check
) -> None:
    checked = check(collector.url, "--write-key", placeholder)
    assert "It looks like a placeholder" in checked.text
    assert len(collector.messages) == 1


@pytest.mark.parametrize("key", [WRITE_KEY, "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0hL", "test_k3"])
def test_a_key_that_may_be_one_is_not_doubted(key: str, collector: Collector, check: Check) -> None:
    assert "placeholder" not in check(collector.url, "--write-key", key).text


# The command


class Process:
    """`python -m sentry_segment`, in a process of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if "SSL_CERT" not in name}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sentry_segment", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=Path(__file__).parent.parent.parent,
            env={**kept, **MEASURED, "PYTHONIOENCODING": "utf-8", **environment},
        )

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def test_the_command_delivers(collector: Collector) -> None:
    command = Process("check", "--host", collector.url, SEGMENT_WRITE_KEY=WRITE_KEY)
    status, out, err = command.end()
    assert (status, err) == (0, "")
    assert out.endswith(f"\n{collector.messages[0]['messageId']}\n")


def test_the_command_works_where_the_terminal_is_ascii(collector: Collector) -> None:
    command = Process(
        "check", "--host", collector.url, SEGMENT_WRITE_KEY=WRITE_KEY, PYTHONIOENCODING="ascii"
    )
    status, out, err = command.end()
    assert (status, err) == (0, "")
    assert "?cdef from SEGMENT_WRITE_KEY" in out


def test_an_interrupt_ends_the_command_without_a_traceback(collector: Collector) -> None:
    collector.answer = lambda call: fault(then=silent)
    command = Process("check", "--host", collector.url, SEGMENT_WRITE_KEY=WRITE_KEY)
    assert command.process.stdout is not None
    while not command.process.stdout.readline().startswith("request"):
        assert command.process.poll() is None
    command.process.send_signal(signal.SIGINT)
    status, _, err = command.end()
    assert (status, err) == (130, "interrupted\n")


def test_an_output_that_nobody_reads_on_ends_the_command_without_a_traceback(
    collector: Collector,
) -> None:
    go = threading.Event()
    collector.answer = lambda call: Reply(delay=go)
    command = Process("check", "--host", collector.url, SEGMENT_WRITE_KEY=WRITE_KEY)
    assert command.process.stdout is not None
    while not command.process.stdout.readline().startswith("request"):
        assert command.process.poll() is None
    command.process.stdout.close()
    go.set()
    status, _, err = command.end()
    assert (status, err) == (1, "")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_the_command_works_with_its_output_closed(collector: Collector) -> None:
    command = [sys.executable, "-m", "sentry_segment", "check", "--host", collector.url]
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command],
        env={**os.environ, "SEGMENT_WRITE_KEY": WRITE_KEY},
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert len(collector.messages) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "check tell whether this machine can deliver"),
        ([], "inspector show on a page"),
        ([], "spool tell what waits in a spool"),
        (["--verbose"], "required: command"),
        (["chekc"], "there is no command 'chekc': did you mean 'check'?\n"),
        (["Inspect"], "there is no command 'Inspect': did you mean 'inspector'?\n"),
        (["check", "--host", "api.segment.io"], "host: expected the base URL"),
        (["check", "--timeout", "0"], "timeout: expected a number of seconds greater than 0"),
        (["check", "--timeout", "nan"], "timeout: expected a number of seconds greater than 0"),
        (["check", "--timeout", "soon"], "argument --timeout: invalid float value\n"),
        (["check", "--timeout", WRITE_KEY], "argument --timeout: invalid float value\n"),
        ([WRITE_KEY], "there is no such command: expected one of check, "),
        ([f"'\n{WRITE_KEY}"], "there is no such command: expected one of check, "),
        (["--write-key", WRITE_KEY, "check"], "there is no such command: expected one of check, "),
        (["check", WRITE_KEY], "an argument too many"),
        (["check", f"--key={WRITE_KEY}"], "an argument too many"),
    ],
)
def test_wrong_usage_is_told_apart(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert text in err or text in " ".join(err.split())
    assert not out
    assert WRITE_KEY not in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--version"], f"sentry-segment {__version__}\n"),
        (["--help"], "check tell whether this machine can deliver"),
        (["--help"], "inspector show on a page of this machine what would arrive"),
        (["inspector", "--help"], "port to listen on, 0 for a free one (8010)"),
        (["check", "--help"], "130 interrupted"),
    ],
)
def test_help_is_there(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    assert " ".join(text.split()) in " ".join(capsys.readouterr().out.split())


# OAuth


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture
def oauth(tokens: TokenServer, tmp_path: Path) -> list[str]:
    """The arguments of a client that the server knows."""
    file = tmp_path / "key.pem"
    file.write_text(tokens.client["oauth_client_key"])
    return [
        f"--oauth-client-id={CLIENT_ID}",
        f"--oauth-client-key-file={file}",
        f"--oauth-key-id={KEY_ID}",
        f"--oauth-auth-server={tokens.url}",
    ]


def without_secrets(checked: Checked, tokens: TokenServer) -> Checked:
    lines = tokens.client["oauth_client_key"].splitlines()[1:-1]
    assert not any(each in checked.out for each in [*tokens.issued, *tokens.assertions, *lines])
    return checked


def test_with_oauth_the_way_to_the_token_comes_first(
    segment: Collector, tokens: TokenServer, oauth: list[str], check: Check
) -> None:
    checked = without_secrets(check(segment.url, *oauth), tokens)
    assert checked.status == 0
    exchange = ["proxy", "connection", "request", "answer"]
    before = ["write key", "client", "token server"]
    assert checked.steps == [*before, *exchange[:3], "token", "host", *exchange]
    assert f"POST {tokens.url}/token, " in checked.text
    assert "good for 3600 s" in checked.text
    [call] = segment.calls
    assert tokens.knows(call)
    assert tokens.errors == []


def test_a_clock_that_is_off_takes_two_tries(
    segment: Collector, tokens: TokenServer, oauth: list[str], check: Check
) -> None:
    tokens.ahead = 3600.0
    checked = check(segment.url, *oauth)
    assert checked.status == 0
    assert "HTTP 400; the next try:" in checked.text


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "The client was refused"),
        (404, "Check --oauth-auth-server"),
        (429, "takes no more requests"),
        (500, "the authorization server has a problem"),
    ],
)
def test_a_token_that_is_not_given_is_explained(
    segment: Collector,
    tokens: TokenServer,
    oauth: list[str],
    check: Check,
    status: int,
    advice: str,
) -> None:
    tokens.instead = lambda call: Reply(status, body=call.body)  # which echoes the assertion
    checked = without_secrets(check(segment.url, *oauth), tokens)
    assert checked.failed == "token"
    assert f"HTTP {status}" in checked.text
    assert advice in checked.text
    assert segment.calls == []


def test_a_token_server_that_is_not_there_is_explained(
    segment: Collector, oauth: list[str], check: Check, closed_port: int
) -> None:
    checked = check(segment.url, *oauth, f"--oauth-auth-server=http://127.0.0.1:{closed_port}")
    assert checked.failed == "connection"


def test_a_token_that_segment_refuses_is_explained(
    segment: Collector, tokens: TokenServer, oauth: list[str], check: Check
) -> None:
    segment.answer = lambda call: Reply(401, body=call.headers["authorization"].encode())
    checked = without_secrets(check(segment.url, *oauth), tokens)
    assert checked.status == 1
    assert "A new OAuth token was refused." in checked.text
    assert len(tokens.issued) == 2


def test_a_token_server_over_plain_http_is_remarked(
    segment: Collector, oauth: list[str], check: Check
) -> None:
    given = "--oauth-auth-server=http://auth.invalid"
    checked = check(segment.url, *oauth, given, SHORT)
    assert "Plain http: tokens cross the network unencrypted." in checked.text


def test_a_key_file_that_can_not_be_used_is_a_wrong_argument(
    check: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str], oauth: list[str]
) -> None:
    other = tmp_path / "other.pem"
    other.write_text("secret")
    for path, said in ((tmp_path / "none.pem", "No such file"), (other, "no such key")):
        with pytest.raises(SystemExit) as raised:
            check("http://127.0.0.1", *oauth, f"--oauth-client-key-file={path}")
        assert raised.value.code == 2
        error = capsys.readouterr().err
        assert said in error
        assert "secret" not in error
