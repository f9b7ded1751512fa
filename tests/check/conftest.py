"""What a check may meet: a proxy, a server by TLS, a port that nobody listens on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from checking import CREDENTIALS, Check, Checked
from proxy import Proxy, TlsCollector, server_context
from sentry_segment.__main__ import main
from support import WRITE_KEY


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
