"""`check` where the message is delivered: each step, and what it shows."""

from __future__ import annotations

import re
import socket
from datetime import datetime, timezone
from typing import Any

import pytest
import sentry_sdk

from checking import Check
from collector import Collector
from proxy import Proxy, TlsCollector
from sentry_segment import SegmentIntegration, __version__
from sentry_segment.check.report import Report
from sentry_segment.check.route import Route
from sentry_segment.check.steps import Steps, whose
from support import WRITE_KEY


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
