"""`check` with a proxy: which it is, and what to do where it fails."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trustme

from checking import SHORT, Check, netloc
from collector import Collector, Reply
from faults import (
    before_reading,
    fault,
    silent,
)
from proxy import Proxy, TlsCollector, server_context


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
