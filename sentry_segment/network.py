"""The HTTP client: proxy and TLS as `sentry_sdk.init` was told, else as the environment says."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


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
        """The proxy for a host's URL: `""` for none, `None` to ask the environment.

        As in Sentry's transport, `https_proxy` comes first for https, then `http_proxy`.
        """
        if host.startswith("https:") and self.https_proxy:
            return self.https_proxy
        if self.http_proxy:
            return self.http_proxy
        own = self.https_proxy if host.startswith("https:") else self.http_proxy
        return "" if own == "" else None


def build_client(network: NetworkOptions, host: str, timeout: float) -> httpx.Client:
    """An `httpx.Client` with one connection. Slow (tens of milliseconds: TLS set-up)."""
    import httpx  # not before the first message: importing it takes a while as well

    proxy = network.proxy_for(host)
    return httpx.Client(
        verify=_ssl_context(network),
        proxy=httpx.Proxy(proxy, headers=dict(network.proxy_headers or {})) if proxy else None,
        trust_env=proxy is None,
        timeout=timeout,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30),
    )


def _ssl_context(network: NetworkOptions) -> ssl.SSLContext:
    import httpx

    if network.ca_certs:
        context = ssl.create_default_context(cafile=network.ca_certs)
    else:
        context = httpx.create_ssl_context()  # SSL_CERT_FILE, SSL_CERT_DIR, else certifi's
    if network.cert_file:
        context.load_cert_chain(network.cert_file, network.key_file)
    return context
