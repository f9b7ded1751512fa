"""Fixtures: a collector that stands for Sentry and Segment, and the SDK set up for each test."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.scope import Scope

import support
from collector import Collector
from inspectors import Poster
from scripts import Script
from sentry_segment import SegmentIntegration
from sentry_segment.inspector.server import Inspector
from support import WRITE_KEY, Init

# A shell has what it starts in the background ignore Ctrl-C. Processes of the tests must not.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "try at length what is tried a tenth as often without it"
    parser.addoption("--all", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    support.is_in_full = config.getoption("--all")
    config.addinivalue_line("markers", "some: of many parameters, some are tried without `--all`")
    if hasattr(config, "workerinput"):  # and not in what starts the workers, which are measured
        for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
            support.MEASURED[name] = os.environ.pop(name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--all`, leave out two of three of what is marked with `some`."""
    if support.is_in_full:
        return
    seen: set[str] = set()
    left_out = []
    for item in items:
        name, is_some = item.nodeid.partition("[")[0], item.get_closest_marker("some")
        if is_some and name in seen and zlib.crc32(item.nodeid.encode()) % 3:
            left_out.append(item)
        seen.add(name)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's settings reaches a test."""
    for variable in (
        *("SEGMENT_WRITE_KEY", "SENTRY_DSN", "SENTRY_PRINT_ENVELOPES"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("CLIENT_CERT_FILE", "CLIENT_KEY_FILE"),
        "REQUEST_METHOD",  # CGI, where HTTP_PROXY is no setting
    ):
        monkeypatch.delenv(variable, raising=False)
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)


@pytest.fixture(autouse=True)
def _no_script_left() -> Iterator[None]:
    """A test that fails leaves no process to those after it."""
    yield
    while Script.started:
        script = Script.started.pop()
        script.end_all()
        script.kill()  # which closes its streams


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A real HTTP server on 127.0.0.1 that takes what Sentry and Segment are sent."""
    with Collector() as running:
        yield running


@pytest.fixture
def segment() -> Iterator[Collector]:
    """Segment on a port of its own, where it matters that Sentry has another."""
    with Collector() as running:
        yield running


@pytest.fixture(autouse=True)
def _sdk() -> Iterator[None]:
    """Fresh scopes for each test; every client that became the global one is closed after it."""
    with sentry_sdk.isolation_scope() as isolation, sentry_sdk.new_scope():
        isolation.clear()
        yield
        client = sentry_sdk.get_client()
        client.close(timeout=0.0)
        Scope.get_global_scope().set_client(None)
        Scope.get_global_scope().clear()


@pytest.fixture
def init(collector: Collector) -> Iterator[Init]:
    """`init(**sentry_options, segment={...})`: the SDK and the integration, on the collector."""

    def init(*, segment: dict[str, Any] | None = None, **options: Any) -> SegmentIntegration:
        integration = SegmentIntegration(
            **{"write_key": WRITE_KEY, "host": collector.url, **(segment or {})}
        )
        options.setdefault("dsn", collector.dsn)
        options["integrations"] = [integration, *options.get("integrations", [])]
        sentry_sdk.init(**options)
        return integration

    yield init
    collector.answer = None
    sentry_sdk.get_client().close(timeout=2.0)  # while there is still somebody who answers


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    with Inspector() as running:
        yield running


@pytest.fixture
def app(inspector: Inspector) -> Iterator[Poster]:
    """One who posts to the inspector."""
    with Poster(inspector.url) as poster:
        yield poster
