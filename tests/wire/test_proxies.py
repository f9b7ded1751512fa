"""Proxies: which is taken, what it is told, and what its faults cost."""

from __future__ import annotations

import logging
from base64 import b64encode

import pytest
import sentry_sdk
import trustme

from collector import Collector, Reply
from proxy import Proxy, TlsCollector, server_context
from support import Init, capture


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
