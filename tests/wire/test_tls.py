"""TLS: whom the mirror trusts, and how it shows who it is."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
import trustme
from sentry_sdk.consts import DEFAULT_OPTIONS

from collector import Collector
from proxy import TlsCollector, server_context
from support import Init, capture

needs_cert_file = pytest.mark.skipif(
    "cert_file" not in DEFAULT_OPTIONS, reason="this SDK has no options for a client's certificate"
)


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
