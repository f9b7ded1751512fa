"""Servers, certificates and log lines for the tests of the way to Segment."""

from __future__ import annotations

import logging
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
import sentry_sdk
import trustme

from broken_ways import PROXY, SEGMENT, Names, Nowhere, Way
from proxy import Proxy, TlsCollector, server_context
from sentry_segment import SegmentIntegration
from sentry_segment.guest import clock
from sentry_segment.wire import oauth
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.verdict import Outcome, Verdict
from support import Init
from token_server import TokenServer


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    return names


@pytest.fixture(scope="module")
def contexts(ca: trustme.CA) -> dict[str, ssl.SSLContext]:
    """Of a server by its name, and of one whose certificate nobody trusts."""
    return {
        SEGMENT: server_context(ca, SEGMENT),
        PROXY: server_context(ca, PROXY),
        "wrong": server_context(trustme.CA(), SEGMENT),
    }


@pytest.fixture
def mirror(
    init: Init, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., SegmentIntegration]:
    """`mirror(way, timeout)`: the SDK on that way to Segment, with short backoffs."""
    monkeypatch.setattr(random, "random", lambda: 0.0005)

    def start(way: Way, timeout: float = 10.0) -> SegmentIntegration:
        return init(
            transport=Nowhere,
            auto_enabling_integrations=False,  # a look for each takes its time
            ca_certs=ca_file,
            https_proxy=way.proxy_url,
            segment={"host": way.host, "timeout": timeout},
        )

    return start


@pytest.fixture
def end_mirror() -> Callable[[], None]:
    """`end_mirror()`: closes the client, and waits for the end of the mirror's thread."""
    before = set(threading.enumerate())  # of other tests, which may still try

    def end() -> None:
        sentry_sdk.get_client().close(timeout=2.0)
        for thread in set(threading.enumerate()) - before:
            if thread.name == "sentry-segment":
                thread.join(30.0)
                assert not thread.is_alive()

    return end


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


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """A certificate authority that nobody knows."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("ca") / "ca.pem")
    ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def tls_segment(ca: trustme.CA) -> Iterator[TlsCollector]:
    """Segment by https, with a certificate of that authority."""
    running = TlsCollector(server_context(ca))
    with running:
        yield running


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`later(seconds)`: so many seconds pass, for tokens."""
    passed = [0.0]
    real = clock.monotonic
    monkeypatch.setattr(oauth, "clock", SimpleNamespace(monotonic=lambda: real() + sum(passed)))
    return passed.append
