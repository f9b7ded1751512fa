"""The steps of one exchange, from what the HTTP client tells of them while it makes them."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sentry_segment.check.report import Report
from sentry_segment.check.route import Route


class Steps:
    """Reports the steps of an exchange: `trace` is told of them, in the order of their events.

    The events are httpcore's: https://www.encode.io/httpcore/extensions/#trace
    """

    def __init__(self, report: Report, route: Route) -> None:
        self._report = report
        self._route = route
        self.tunnel_status: int | None = None
        """What a proxy answered that was asked for a tunnel."""
        self.name = ""
        """Of the present step."""
        self._begin("connection")

    @property
    def seconds(self) -> float:
        """How long the present step has taken so far."""
        return time.perf_counter() - self._begun

    def trace(self, name: str, info: dict[str, Any]) -> None:
        layer, _, event = name.partition(".")
        method = info["request"].method.decode() if "request" in info else ""
        if event == "connect_tcp.started":
            self._begin("connection")
        elif event == "connect_tcp.complete":
            self._end(self._address(info["return_value"]))
        elif event == "start_tls.started":
            to_proxy = layer == "connection" and self._route.proxy
            self._begin("TLS to proxy" if to_proxy else "TLS")
        elif event == "start_tls.complete":
            tls = info["return_value"].get_extra_info("ssl_object")
            self._end(f"{tls.version()}; certificate {whose(tls.getpeercert())}")
        elif event == "setup_socks5_connection.started" or method == "CONNECT":
            if self.name != "tunnel":
                self._begin("tunnel")
        elif event == "setup_socks5_connection.complete":
            self._end("opened by the proxy")
        elif event == "send_request_headers.started":
            self._begin("request")
            headers = {name.lower(): value for name, value in info["request"].headers}
            size = headers[b"content-length"].decode()
            # Without what stands before it in the host, and for a proxy, the host itself.
            self._path = re.sub(r".*(/v1/|/token)", r"\1", info["request"].url.target.decode())
            self._request = f"POST {self._route.host}{self._path}, {size} bytes"
        elif event == "receive_response_headers.started":
            self._end(self._request)
            self._begin("answer")
        elif event == "receive_response_headers.complete" and self.name == "tunnel":
            self.tunnel_status = info["return_value"][1]
            if 200 <= self.tunnel_status < 300:
                self._end("opened by the proxy")
        elif event == "receive_response_headers.complete":
            self._status = info["return_value"][1]

    def _address(self, stream: Any) -> str:
        try:
            address, port = stream.get_extra_info("server_addr")[:2]
        except OSError:  # the connection was reset, as the next step will find
            address, port = self._route.peer
        return f"{address}, port {port}"

    def _begin(self, name: str) -> None:
        if self.name == "answer":
            why = f": {self._path} is not known there" if self._status in (404, 405) else ""
            self._end(f"HTTP {self._status}{why}; the next try:")
        self.name = name
        self._begun = time.perf_counter()

    def _end(self, text: str) -> None:
        self._report.done(self.name, text, self.seconds)


def whose(certificate: Mapping[str, Any]) -> str:
    """The names, issuer and end of a certificate, as `ssl.SSLSocket.getpeercert` gives it."""
    names = [str(value) for _, value in certificate["subjectAltName"]]  # without one, it is refused
    issuer = {key: value for part in certificate["issuer"] for key, value in part}
    by = issuer.get("organizationName") or issuer.get("commonName", "?")
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), timezone.utc)
    more = " and others" if len(names) > 3 else ""
    return f"of {', '.join(names[:3])}{more} by {by}, valid until {until:%Y-%m-%d}"
