"""The HTTP client: proxy and TLS as `sentry_sdk.init` was told, else as the environment says."""

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
from typing import Any
from urllib.parse import urlsplit
from urllib.request import (  # type: ignore[attr-defined]
    getproxies_environment,
    proxy_bypass_environment,
)

import httpx

from sentry_segment.forks import PerProcess
from sentry_segment.silence import outside_any_request

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

    @classmethod
    def from_sentry(cls, options: Mapping[str, Any]) -> NetworkOptions:
        return cls(**{name: options.get(name) for name in cls.__dataclass_fields__})

    def proxy_for(self, host: str) -> str | None:
        """The proxy for a host's URL; `None` for none.

        As in Sentry's transport, `https_proxy` comes first for https, then `http_proxy`.
        """
        scheme, netloc = urlsplit(host)[:2]
        options = (self.https_proxy, self.http_proxy) if scheme == "https" else (self.http_proxy,)
        for proxy in options:
            if proxy:
                return _with_scheme(proxy)
        if options[0] == "" or proxy_bypass_environment(netloc):  # the latter is NO_PROXY
            return None
        proxies = getproxies_environment()
        proxy = proxies.get(scheme) or proxies.get("all")
        return _with_scheme(proxy) if proxy else None


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
        context = _ssl_context(network)
        client: httpx.Client = _Client(
            verify=context,
            proxy=_proxy(network, host, context),
            trust_env=False,  # the proxy is chosen here, so that `proxy_headers` hold for it
            timeout=timeout,
            follow_redirects=False,
            event_hooks={"response": [_set_location_aside]},
            limits=httpx.Limits(
                max_connections=1, max_keepalive_connections=1, keepalive_expiry=30
            ),
        )
        return client


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


def _ssl_context(network: NetworkOptions) -> ssl.SSLContext:
    if network.ca_certs:
        with _naming("ca_certs", network.ca_certs):
            context = ssl.create_default_context(cafile=network.ca_certs)
    else:
        context = httpx.create_ssl_context()  # SSL_CERT_FILE, SSL_CERT_DIR, else certifi's
    if network.cert_file:
        with _naming("cert_file, key_file", network.cert_file, network.key_file):
            context.load_cert_chain(network.cert_file, network.key_file)
    return context


@contextmanager
def _naming(option: str, *paths: str | None) -> Iterator[None]:
    """Say in an error which file it is about: the `ssl` module does not."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{option} ({', '.join(filter(None, paths))}): {error}") from error
