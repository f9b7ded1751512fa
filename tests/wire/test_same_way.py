"""The mirror takes the way to the network that Sentry's own transport takes: each row of the table
with both of them in one process."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
import sentry_sdk
import trustme
from cryptography.hazmat.primitives import serialization
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.transport import KEEP_ALIVE_SOCKET_OPTIONS

from collector import HOST, Collector
from proxy import Proxy, SocksProxy, TlsCollector, server_context
from same_way import PASSWORD, USER, Place, Row, Try, looked_at, table
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions
from sentry_segment.wire.verdict import Outcome, Verdict
from support import Init, capture
from virtual import options

pytest.importorskip("socks", reason="Sentry's transport needs PySocks")
# The rules are those of the newest SDK, whichever is used.
pytestmark = pytest.mark.skipif(
    "cert_file" not in DEFAULT_OPTIONS, reason="this SDK's own transport has other rules"
)

OPENSSL = shutil.which("openssl")


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of certificates, by what they are."""
    folder = tmp_path_factory.mktemp("files")
    client = ca.issue_cert("client.example.com")
    key = client.private_key_pem.bytes()
    contents = {
        "ca": ca.cert_pem.bytes(),
        "other_ca": trustme.CA().cert_pem.bytes(),
        "cert": client.cert_chain_pems[0].bytes(),
        "key": key,
        "both": client.private_key_and_cert_chain_pem.bytes(),
        "encrypted_key": serialization.load_pem_private_key(key, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ),
        "nonsense": b"not a certificate",
    }
    paths = {"missing": str(folder / "missing.pem")}
    for name, content in contents.items():
        path = folder / f"{name}.pem"
        path.write_bytes(content)
        paths[name] = str(path)
    hashed = folder / "hashed"
    hashed.mkdir()
    (hashed / "ca.pem").write_bytes(contents["ca"])
    if OPENSSL:
        subprocess.run([OPENSSL, "rehash", str(hashed)], check=True)
    return {**paths, "folder": str(hashed)}


@pytest.fixture
def both(
    init: Init,
    files: dict[str, str],
    problems: SimpleQueue[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Try]:
    """`both(server, row)`: has both transports send an error there, and tells who got through."""
    with contextlib.ExitStack() as stack:

        def send(server: Collector, row: Row) -> Place:
            needs_login = "password" in row.name
            socks = SocksProxy(*(USER, PASSWORD) if needs_login else ("", ""))
            proxy = Proxy()
            place = Place(server, stack.enter_context(proxy), stack.enter_context(socks), files)
            if needs_login:
                proxy.authorization = place.fill("Basic {basic}")
            for variable, value in row.environment.items():
                monkeypatch.setenv(variable, place.fill(value))
            given = place.fill(row.options)
            dsn = f"{server.url.replace('://', '://public@')}/1"
            integration = init(dsn=dsn, segment={"host": server.url}, **given)
            stack.callback(sentry_sdk.get_client().close, timeout=0.0)
            capture()
            if row.segment:
                server.wait_for_messages(1)
            else:
                place.problem = problems.get(timeout=10.0)
                assert integration.stats.delivered == 0
            sentry_sdk.get_client().transport._worker.flush(10.0)  # type: ignore[union-attr]
            assert len(server.events) == row.sentry
            assert len(server.messages) == row.segment
            # What still waits is not to be tried in a later test, by the proxies of that one.
            monkeypatch.setattr(SegmentApi, "send", lambda *_: Verdict(Outcome.DELIVERED))
            assert integration.flush(30.0)
            return place

        yield send


# Over plain http


@table(
    Row("nothing"),
    Row("http_proxy", {"http_proxy": "http://{proxy}"}, by="proxy"),
    Row("https_proxy alone", {"https_proxy": "http://{proxy}"}),
    Row("HTTP_PROXY", {}, {"HTTP_PROXY": "http://{proxy}"}, by="proxy"),
    Row("http_proxy in small letters", {}, {"http_proxy": "http://{proxy}"}, by="proxy"),
    Row("HTTPS_PROXY alone", {}, {"HTTPS_PROXY": "http://{proxy}"}),
    Row("ALL_PROXY", {}, {"ALL_PROXY": "http://{proxy}", "all_proxy": "http://{proxy}"}),
    Row("empty http_proxy", {"http_proxy": ""}, {"HTTP_PROXY": "http://{proxy}"}),
    Row("a CGI", {}, {"HTTP_PROXY": "http://{proxy}", "REQUEST_METHOD": "GET"}),
    Row("NO_PROXY", {}, {"HTTP_PROXY": "http://{proxy}", "NO_PROXY": "127.0.0.1"}),
    Row("NO_PROXY by its end", {}, {"HTTP_PROXY": "http://{proxy}", "NO_PROXY": "a.test, .0.0.1"}),
    Row("NO_PROXY with port", {}, {"HTTP_PROXY": "http://{proxy}", "NO_PROXY": "127.0.0.1:{port}"}),
    Row("NO_PROXY with a comma too many", {}, {"HTTP_PROXY": "http://{proxy}", "NO_PROXY": "a,"}),
    Row("NO_PROXY *", {}, {"HTTP_PROXY": "http://{proxy}", "NO_PROXY": "*"}, by="proxy"),
    Row("NO_PROXY of another", {}, {"HTTP_PROXY": "http://{proxy}", "NO_PROXY": "a"}, by="proxy"),
    Row("NO_PROXY and option", {"http_proxy": "http://{proxy}"}, {"NO_PROXY": "1"}, by="proxy"),
    Row("socks5", {"http_proxy": "socks5://{socks}"}, by="socks"),
    Row("socks5h", {"http_proxy": "socks5h://{socks}"}, by="socks"),
    Row("socks5 in HTTP_PROXY", {}, {"HTTP_PROXY": "socks5://{socks}"}, by="socks"),
    Row(
        "a password for socks5", {"http_proxy": f"socks5://{USER}:{PASSWORD}@{{socks}}"}, by="socks"
    ),
    Row(
        "a password in proxy_headers",
        {"http_proxy": "http://{proxy}", "proxy_headers": {"Proxy-Authorization": "Basic {basic}"}},
        by="proxy",
    ),
    # On purpose, as docs/network.md says.
    Row(
        "a password in the URL",
        {"http_proxy": f"http://{USER}:{PASSWORD}@{{proxy}}"},
        sentry=False,
        by="proxy",
    ),
)
def test_by_plain_http(row: Row, both: Try, segment: Collector) -> None:
    looked_at(row, both(segment, row))


# By https


@table(
    Row("nothing", sentry=False, segment=False),
    Row("ca_certs", {"ca_certs": "{ca}"}),
    Row("SSL_CERT_FILE", {}, {"SSL_CERT_FILE": "{ca}"}),
    Row("REQUESTS_CA_BUNDLE", {}, {"REQUESTS_CA_BUNDLE": "{ca}"}),
    Row("CURL_CA_BUNDLE", {}, {"CURL_CA_BUNDLE": "{ca}"}, sentry=False, segment=False),
    Row("SSL_CERT_DIR", {}, {"SSL_CERT_DIR": "{folder}"}, sentry=False, segment=False),
    Row("ca_certs first", {"ca_certs": "{ca}"}, {"SSL_CERT_FILE": "{other_ca}"}),
    Row("SSL_CERT_FILE second", {}, {"SSL_CERT_FILE": "{ca}", "REQUESTS_CA_BUNDLE": "{other_ca}"}),
    Row(
        "REQUESTS_CA_BUNDLE third",
        {},
        {"SSL_CERT_FILE": "{other_ca}", "REQUESTS_CA_BUNDLE": "{ca}"},
        sentry=False,
        segment=False,
    ),
    Row("empty SSL_CERT_FILE", {}, {"SSL_CERT_FILE": "", "REQUESTS_CA_BUNDLE": "{ca}"}),
    Row("https_proxy", {"ca_certs": "{ca}", "https_proxy": "http://{proxy}"}, by="proxy"),
    Row("http_proxy for https", {"ca_certs": "{ca}", "http_proxy": "http://{proxy}"}, by="proxy"),
    Row("HTTPS_PROXY", {"ca_certs": "{ca}"}, {"HTTPS_PROXY": "http://{proxy}"}, by="proxy"),
    Row("HTTP_PROXY for https", {"ca_certs": "{ca}"}, {"HTTP_PROXY": "http://{proxy}"}, by="proxy"),
    Row(
        "empty https_proxy",
        {"ca_certs": "{ca}", "https_proxy": ""},
        {"HTTPS_PROXY": "http://{proxy}"},
    ),
    Row(
        "empty https_proxy, HTTP_PROXY",
        {"ca_certs": "{ca}", "https_proxy": ""},
        {"HTTP_PROXY": "http://{proxy}"},
        by="proxy",
    ),
    Row(
        "empty http_proxy, HTTPS_PROXY",
        {"ca_certs": "{ca}", "http_proxy": ""},
        {"HTTPS_PROXY": "http://{proxy}"},
        by="proxy",
    ),
    Row(
        "NO_PROXY", {"ca_certs": "{ca}"}, {"HTTPS_PROXY": "http://{proxy}", "NO_PROXY": "127.0.0.1"}
    ),
    Row("socks5", {"ca_certs": "{ca}", "https_proxy": "socks5://{socks}"}, by="socks"),
)
def test_by_https(row: Row, both: Try, ca: trustme.CA) -> None:
    with TlsCollector(server_context(ca)) as server:
        looked_at(row, both(server, row))


# To a server that demands a certificate

TRUSTING = {"ca_certs": "{ca}"}


@table(
    Row("nothing", TRUSTING, sentry=False, segment=False),
    Row("cert_file, key_file", {**TRUSTING, "cert_file": "{cert}", "key_file": "{key}"}),
    Row("cert_file with the key", {**TRUSTING, "cert_file": "{both}"}),
    Row("CLIENT_CERT_FILE", TRUSTING, {"CLIENT_CERT_FILE": "{both}"}),
    Row(
        "CLIENT_CERT_FILE, CLIENT_KEY_FILE",
        TRUSTING,
        {"CLIENT_CERT_FILE": "{cert}", "CLIENT_KEY_FILE": "{key}"},
    ),
    Row(
        "an option and a variable",
        {**TRUSTING, "cert_file": "{cert}"},
        {"CLIENT_KEY_FILE": "{key}"},
    ),
    Row(
        "CLIENT_KEY_FILE alone", TRUSTING, {"CLIENT_KEY_FILE": "{key}"}, sentry=False, segment=False
    ),
    Row(
        "a key that is encrypted",
        {**TRUSTING, "cert_file": "{cert}", "key_file": "{encrypted_key}"},
        sentry=False,
        segment=False,
    ),
)
def test_with_a_certificate_of_the_client(row: Row, both: Try, ca: trustme.CA) -> None:
    context = server_context(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    with TlsCollector(context) as server:
        both(server, row)


@pytest.mark.parametrize("file", ["missing", "nonsense"])
@pytest.mark.parametrize(
    "name",
    [
        *("ca_certs", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
        *("cert_file", "CLIENT_CERT_FILE", "key_file", "CLIENT_KEY_FILE"),
    ],
)
def test_a_file_that_can_not_be_used_is_named_with_what_it_came_from(
    name: str, file: str, both: Try, ca: trustme.CA, files: dict[str, str]
) -> None:
    with TlsCollector(server_context(ca)) as server:
        given = {name: f"{{{file}}}"}
        if "key" in name.lower():
            given["cert_file"] = "{cert}"
        if "ca" not in name.lower() and name != "SSL_CERT_FILE":
            given["ca_certs"] = "{ca}"
        by_option = {key: value for key, value in given.items() if key.islower()}
        variables = {key: value for key, value in given.items() if key.isupper()}
        row = Row("unusable", by_option, variables, sentry=False, segment=False)
        problem = both(server, row).problem
    assert name in problem
    assert files[file] in problem


# Sockets


def options_of_clients(port: int) -> list[list[int]]:
    """`SO_KEEPALIVE`, its seconds and the type of service, of each connection to the port."""
    found = []
    for number in range(512):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
        except OSError:
            continue
        with socket.socket(fileno=os.dup(number)) as each, contextlib.suppress(OSError):
            if each.getpeername() == (HOST, port):
                wanted = (
                    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                    (socket.IPPROTO_IP, socket.IP_TOS),
                    (socket.IPPROTO_TCP, socket.TCP_NODELAY),
                )
                found.append([each.getsockopt(*option) for option in wanted])
    return found


TOS = (socket.IPPROTO_IP, socket.IP_TOS, 16)
IDLE = (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", 0), 77)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at what Linux has")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [0, 7200, 0]),
        ({"keep_alive": True}, [1, 45, 0]),
        ({"socket_options": [TOS]}, [0, 7200, 16]),
        ({"socket_options": [IDLE, TOS], "keep_alive": True}, [1, 77, 16]),
    ],
)
def test_both_sockets_have_the_same_options(
    given: dict[str, Any], expected: list[int], both: Try, segment: Collector
) -> None:
    both(segment, Row("sockets", given))
    clients = options_of_clients(segment.port)
    assert len(clients) >= 2  # a connection that was replaced may still be there
    default = options_of_clients(segment.port)[0][1] if expected[1] == 7200 else expected[1]
    assert [each[:3] for each in clients] == [[expected[0], default, expected[2]]] * len(clients)


def test_a_socket_option_that_can_not_be_set_is_named(both: Try, segment: Collector) -> None:
    row = Row("sockets", {"socket_options": [(999, 999, 1)]}, sentry=False, segment=False)
    problem = both(segment, row).problem
    assert "socket_options: [Errno" in problem


def test_a_later_transport_of_sentry_keeps_connections_alive_and_trusts_the_system() -> None:
    for asked_for in ({"transport_http2": True}, {"transport_async": True}):
        network = NetworkOptions.from_sentry({"_experiments": asked_for})
        assert network.trusts_system
        assert network.socket_options == tuple(KEEP_ALIVE_SOCKET_OPTIONS)
    assert NetworkOptions.from_sentry({}) == NetworkOptions()
    assert NetworkOptions.from_sentry({"_experiments": None}) == NetworkOptions()
    assert pickle.loads(pickle.dumps(network)) == network


@pytest.mark.skipif(OPENSSL is None, reason="only it makes a folder of certificates")
def test_where_the_system_is_trusted_ssl_cert_dir_counts(
    ca: trustme.CA, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", files["folder"])
    with TlsCollector(server_context(ca)) as server:
        api = SegmentApi(options(server), NetworkOptions(trusts_system=True))
        verdict = api.send([b'{"messageId": "1"}'], retry_count=0, time_limit=10.0)
        api.close()
    assert verdict.outcome is Outcome.DELIVERED


# Proxies that can't be had


@pytest.mark.parametrize("scheme", ["socks5", "socks4", "socks4a"])
def test_no_proxy_that_was_asked_for_is_gone_around(
    scheme: str,
    both: Try,
    segment: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Sentry's transport does: it warns, and goes without the proxy.
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)
    monkeypatch.setitem(sys.modules, "socksio", None)
    row = Row("socks", {"http_proxy": f"{scheme}://{{socks}}"}, segment=False)
    problem = both(segment, row).problem
    assert ("httpx[socks]" if scheme == "socks5" else "socks5://") in problem
    assert not segment.calls
