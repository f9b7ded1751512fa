"""`check` and what the server answers; and the docs, which show the output as it is."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
import trustme

from checking import CREDENTIALS, SHORT, Check
from collector import Collector, Reply, Takeover
from faults import (
    OK,
    dripping,
    fault,
    knows_batch_alone,
    pouring,
    reset,
    silent,
)
from pages import BLOCKS, rows
from proxy import Proxy, TlsCollector, server_context
from support import WRITE_KEY, some

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
    shown = dict(rows("docs/check.md", "in it | value"))
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


@some
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
