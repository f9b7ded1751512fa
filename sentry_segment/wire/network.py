"""The HTTP client: it takes the way to the network that Sentry's own transport takes.

The rules are those of `sentry_sdk.transport` 2.75, with any SDK: what lets Sentry's request out of
a network, by option or by environment, lets ours out, and nothing else does. `docs/network.md` has
the differences on purpose.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - else imported by the first connection: see _building
import inspect
import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import certifi
import httpx
import sentry_sdk.transport
from sentry_sdk.transport import KEEP_ALIVE_SOCKET_OPTIONS

from sentry_segment.guest.forks import PerProcess
from sentry_segment.guest.silence import outside_any_request

SocketOption = tuple[Any, ...]
"""As `socket.setsockopt` takes it."""

# Held while a client is built, and while the process forks: building imports modules and has
# OpenSSL read certificates, and a child forked in the midst of it would inherit the locks of both,
# held by a thread that it does not have. Re-entrant for a signal handler that forks.
_building = PerProcess(threading.RLock)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _building.get().acquire(),
        after_in_parent=lambda: _building.get().release(),
    )


@dataclass(frozen=True)
class NetworkOptions:
    """Those of Sentry's options that hold for Segment too.

    `http_proxy` and `https_proxy`: a URL, `""` for none at all, `None` for the environment's.
    """

    http_proxy: str | None = None
    https_proxy: str | None = None
    proxy_headers: Mapping[str, str] | None = None
    ca_certs: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    socket_options: tuple[SocketOption, ...] = ()
    trusts_system: bool = False
    """Whether the system's certificates are trusted too, and `SSL_CERT_DIR` read."""

    @classmethod
    def from_sentry(cls, options: Mapping[str, Any]) -> NetworkOptions:
        """Older SDKs lack some of the options."""
        by_httpcore = _is_by_httpcore(options)
        socket_options = [tuple(option) for option in options.get("socket_options") or ()]
        if options.get("keep_alive") or by_httpcore:
            given = {option[:2] for option in socket_options}
            socket_options += [each for each in KEEP_ALIVE_SOCKET_OPTIONS if each[:2] not in given]
        same = ("http_proxy", "https_proxy", "proxy_headers", "ca_certs", "cert_file", "key_file")
        return cls(
            **{name: options.get(name) for name in same},
            socket_options=tuple(socket_options),
            trusts_system=by_httpcore,
        )

    def proxy_for(self, host: str) -> str | None:
        """The proxy for a host's URL; `None` for none.

        For https `https_proxy` comes first, then `http_proxy`, each by option or else by
        environment (or, on macOS and Windows, by the system's settings).
        """
        found = getproxies()
        if _is_excepted(host, found.get("no", "")):
            found = {}
        proxy: str | None = None
        if urlsplit(host).scheme == "https" and self.https_proxy != "":
            proxy = self.https_proxy or found.get("https")
        if not proxy and self.http_proxy != "":
            proxy = self.http_proxy or found.get("http")
        return _with_scheme(proxy) if proxy else None

    @property
    def ca_file(self) -> tuple[str, str]:
        """The file of certificates to trust, and the option or variable that names it, or ""."""
        return self._first("ca_certs", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") or (
            certifi.where(),
            "",
        )

    @property
    def client_certificate(self) -> tuple[str, str | None, str] | None:
        """The files of the client's certificate and its key, and what names them."""
        certificate = self._first("cert_file", "CLIENT_CERT_FILE")
        if certificate is None:
            return None
        key = self._first("key_file", "CLIENT_KEY_FILE")
        if key is None:
            return certificate[0], None, certificate[1]
        return certificate[0], key[0], f"{certificate[1]}, {key[1]}"

    def _first(self, option: str, *variables: str) -> tuple[str, str] | None:
        given = [(getattr(self, option), option)]
        given += [(os.environ.get(variable), variable) for variable in variables]
        return next(((value, name) for value, name in given if value), None)


def _is_by_httpcore(options: Mapping[str, Any]) -> bool:
    """Whether Sentry's transport is its HTTP/2 or its asynchronous one."""
    asked_for = options.get("_experiments") or {}
    http2 = getattr(sentry_sdk.transport, "HTTP2_ENABLED", False)
    return bool(asked_for.get("transport_async") or (http2 and asked_for.get("transport_http2")))


def _is_excepted(host: str, no_proxy: str) -> bool:
    """Whether `NO_PROXY` names the host, by its ending, with or without its port."""
    parts = urlsplit(host)
    name = netloc = parts.hostname or ""
    if parts.port not in (None, {"http": 80, "https": 443}[parts.scheme]):
        netloc = f"{name}:{parts.port}"
    endings = [ending.strip() for ending in no_proxy.split(",")] if no_proxy else []
    return any(name.endswith(ending) or netloc.endswith(ending) for ending in endings)


# Some observers put a class of their own in the place of httpx's (AWS X-Ray), others wrap its
# `send` (ddtrace, New Relic, Elastic APM).
_HttpxClient: Any = next(each for each in httpx.Client.__mro__ if each.__module__ == "httpx")
_send = inspect.unwrap(_HttpxClient.send)


class _Client(_HttpxClient):  # type: ignore[misc]
    """httpx's client, below whatever observes it: our requests are not to be shown as the
    application's, and no trace header is to go to Segment."""

    def send(self, *args: Any, **kwargs: Any) -> Any:
        # Elastic APM wraps the connections too, and looks for a transaction in the context.
        return outside_any_request(partial(_send, self, *args, **kwargs))


def build_client(network: NetworkOptions, host: str, timeout: float) -> httpx.Client:
    """An `httpx.Client` with one connection. Slow (tens of milliseconds: TLS set-up).

    Raises `OSError` that names the option, where a file of certificates can't be used.
    """
    with _building.get():
        client: httpx.Client = _Client(
            transport=build_transport(network, host, ssl_context(network)),
            trust_env=False,  # the proxy is chosen here, so that `proxy_headers` hold for it
            timeout=timeout,
            follow_redirects=False,
            event_hooks={"response": [_set_location_aside]},
        )
        # A cookie of one answer's would go with all other requests: those of other browsers, say.
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return client


def build_transport(
    network: NetworkOptions, host: str, context: ssl.SSLContext
) -> httpx.HTTPTransport:
    """What of a client makes its connection. Fast."""
    return httpx.HTTPTransport(
        verify=context,
        trust_env=False,
        proxy=_proxy(network, host, context),
        limits=httpx.Limits(
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=30,
        ),
    )


def _set_location_aside(response: httpx.Response) -> None:
    """Or httpx would read it, though no redirect is followed, and raise where it is no URL."""
    response.extensions["location"] = response.headers.pop("Location", "")


def _proxy(network: NetworkOptions, host: str, context: ssl.SSLContext) -> httpx.Proxy | None:
    url = network.proxy_for(host)
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        if "@" in parts.path or parts.port == 0:  # `port` raises where it is no port
            raise ValueError
        if url.startswith("socks5h:"):  # the same to httpcore; older versions of httpx know one
            url = url.replace("socks5h:", "socks5:", 1)
        return httpx.Proxy(
            url,
            headers=dict(network.proxy_headers or {}),
            ssl_context=context if url.startswith("https:") else None,
        )
    except Exception:  # noqa: BLE001 - whose text may show the proxy's password
        raise ValueError(
            "the proxy's URL (http_proxy, https_proxy, or the environment's) can't be used: "
            "expected http://, https:// or socks5://, and a percent-encoded password"
        ) from None


def _with_scheme(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"


def ssl_context(network: NetworkOptions) -> ssl.SSLContext:
    """Of the files of certificates that are to be used, as they are now. Slow.

    Raises `OSError` that names the option, where one of them can't be used.
    """
    with _building.get():
        path, source = network.ca_file
        with _naming(source, path):
            if network.trusts_system:
                context = ssl.create_default_context()
                context.load_verify_locations(path)
            else:
                context = ssl.create_default_context(cafile=path)
                context.hostname_checks_common_name = False  # urllib3 does not look at it either
        if network.client_certificate is not None:
            certificate, key, source = network.client_certificate
            with _naming(source, certificate, key):
                context.load_cert_chain(certificate, key, _no_password)
        return context


def _no_password() -> str:
    """Or OpenSSL would ask for it at the terminal."""
    raise OSError("the key is encrypted")


@contextmanager
def _naming(option: str, *paths: str | None) -> Iterator[None]:
    """Say in an error which file it is about: the `ssl` module does not."""
    try:
        yield
    except OSError as error:
        named = f"{', '.join(filter(None, paths))}"
        raise OSError(f"{option} ({named}): {error}" if option else f"{named}: {error}") from error
