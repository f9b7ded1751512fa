"""What to do where a step of the check failed."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import TimeoutError as LookUpTimeoutError
from datetime import datetime, timezone
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from sentry_segment.check.route import Route
from sentry_segment.guest.log import describe
from sentry_segment.oauth_options import DEFAULT_AUTH_SERVER
from sentry_segment.options import DEFAULT_HOST, WRITE_KEY_VARIABLE
from sentry_segment.wire.verdict import Outcome, Verdict

EU_HOST = "https://events.eu1.segmentapis.com"
EU_AUTH_SERVER = "https://oauth2.eu1.segmentapis.com"

PLACEHOLDER = (
    "It looks like a placeholder, and not like a key. In Segment: Connections > Sources > your "
    "source > Settings > API Keys."
)
NO_KEY = (
    f"Set {WRITE_KEY_VARIABLE}, or pass --write-key. In Segment: Connections > Sources > your "
    f"source > Settings > API Keys. Without a key nothing is mirrored."
)
NOT_JSON = (
    "The answer is not JSON, as Segment's is. If the host is Segment's, something in between has "
    "answered: a proxy, say."
)
NOT_WHOLE = (
    "The status was read, and counts; but the answer had no end, or was very long. Each request "
    "may take as long as this one did. Segment's answers are short: look at what is at the host."
)
BATCH_ALONE = (
    "The server knows /v1/batch, and not /v1/track. That will do: every message goes to the first."
)
WEB_PAGE = (
    "It counts as delivered by its status, but no collector answers so: a log-in page, a proxy or "
    "another server has. Check the host, and whether this network wants a log-in or a proxy."
)


class Failure(NamedTuple):
    """What went wrong, and what to do."""

    what: str
    advice: str


# OpenSSL's codes (https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/)
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME, _OTHER_ADDRESS = 62, 64


def for_proxy(error: Exception) -> Failure:
    """For a proxy's URL that can't be used."""
    return Failure(str(error), "Look at HTTPS_PROXY and HTTP_PROXY, in small letters too.")


def for_certificates(error: Exception, source: str) -> Failure:
    """For certificates that can't be read."""
    advice = f"Give a file of certificates in PEM form that this user can read: {source}."
    return Failure(describe(error), advice)


def for_look_up(error: Exception, route: Route) -> Failure:
    """For a name that has no address."""
    name, _ = route.peer
    if isinstance(error, socket.gaierror):
        what = str(error.strerror)
    elif isinstance(error, LookUpTimeoutError):
        what = "no answer within the timeout"
    else:
        what = describe(error)
    if route.proxy:
        advice = f"Is the proxy's name in {route.proxy_variable} right? Does DNS work here?"
    else:
        advice = (
            f"Is the name in the host right? Does DNS work on this machine (getent hosts {name})? "
            f"If only a proxy leads out of this network, set {route.proxy_variable}."
        )
    return Failure(f"{name}: {what}", advice)


def for_exchange(error: Exception, step: str, tunnel_status: int | None, route: Route) -> Failure:
    """For a request that was not answered."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause, route)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return _no_tls(cause)
    if isinstance(error, httpx.ProxyError):
        return _refused_by_proxy(tunnel_status, error, route)
    if step == "connection":
        return _no_connection(error, route)
    if isinstance(error, httpx.TimeoutException):
        return _silent(step, route)
    return _broken(error, step, route)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_connection(error: Exception, route: Route) -> Failure:
    name, port = route.peer
    if isinstance(error, httpx.TimeoutException):
        what = "no answer within the timeout"
    elif any(isinstance(cause, ConnectionRefusedError) for cause in _causes(error)):
        what = "refused"
    else:
        what = str(error)
    if route.proxy:
        advice = f"The proxy can't be reached. Is it up? Is {route.proxy_variable} right?"
    else:
        advice = (
            f"Nothing answers there, or a firewall is in the way. Check the host and its port; "
            f"allow outgoing TCP connections to {name}, port {port}; or, if only a proxy leads "
            f"out of this network, set {route.proxy_variable}."
        )
    return Failure(what, advice)


def _untrusted(error: ssl.SSLCertVerificationError, route: Route) -> Failure:
    if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
        now = datetime.now(timezone.utc)
        advice = (
            f"Is this machine's clock right? It says {now:%Y-%m-%d %H:%M} UTC. If so, the "
            f"certificate must be renewed where it is: at the host, or at a proxy in between."
        )
    elif error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        advice = (
            "Another server than the one meant has answered. Check the host, what its name "
            "resolves to, and whether a proxy or a log-in page of this network is in between."
        )
    else:
        advice = (
            "Its issuer is not known here. If a proxy or firewall inspects TLS, give its "
            "certificate: set SSL_CERT_FILE to a file in PEM form, or pass ca_certs to "
            "sentry_sdk.init. That file takes the place of the usual certificates."
        )
    return Failure(f"the certificate was refused: {error.verify_message}", advice)


def _no_tls(error: ssl.SSLError) -> Failure:
    return Failure(
        f"no TLS: {error.reason or error}",
        "Does the host speak TLS on this port? If not, its URL begins with http://. Else something "
        "in between cuts TLS off, or the server wants a client's certificate (cert_file in "
        "sentry_sdk.init, which this check does not know).",
    )


def _refused_by_proxy(status: int | None, error: Exception, route: Route) -> Failure:
    what = describe(error) if status is None else f"the proxy answered {_status(status)}"
    return Failure(what, _proxy_login(route) if status == 407 else _proxy_refuses(route))


def _proxy_login(route: Route) -> str:
    return (
        f"It wants a user and a password: {route.proxy_variable}=http://user:password@proxy:port, "
        f"with special characters percent-encoded."
    )


def _proxy_refuses(route: Route) -> str:
    name = urlsplit(route.host).hostname
    return f"Have the proxy allow connections to {name}. If it needs no proxy, name it in NO_PROXY."


def _silent(step: str, route: Route) -> Failure:
    who = "proxy" if route.proxy and step in ("tunnel", "TLS to proxy") else "host"
    return Failure(
        "no complete answer within the timeout",
        f"The {who} was reached, and said nothing, or too little. Is the URL right, with its "
        f"port, and http or https? Does a firewall hold the traffic up? A slow server needs a "
        f"larger timeout (--timeout, and the option of the integration).",
    )


def _broken(error: Exception, step: str, route: Route) -> Failure:
    if route.host.startswith("http:"):
        hint = "Does the host speak TLS on this port? Then its URL begins with https://. Else"
    else:
        hint = "Is the host right? Then"
    where = "in TLS" if step.startswith("TLS") else "before a whole answer"
    return Failure(
        describe(error),
        f"The connection ended {where}, or what came was not HTTP. {hint} a firewall, a proxy or "
        f"the server itself has cut it off.",
    )


def for_token(status: int | None) -> str:
    """For an answer of the authorization server in which there is no token."""
    if status == 429:
        advice = "The server is reached, and takes no more requests for the moment."
    elif status is not None and status >= 500:
        advice = "This machine is all right, and the authorization server has a problem."
    elif status in (400, 401, 403):
        advice = (
            "The client was refused, or a firewall refuses the request. Compare its id, the key's "
            "id, the key and the scope with Settings > Workspace settings > Access Management > "
            f"OAuth application. Regions are apart: --oauth-auth-server {DEFAULT_AUTH_SERVER}, in "
            f"the EU {EU_AUTH_SERVER}."
        )
    else:
        advice = "No authorization server answers so. Check --oauth-auth-server."
    return f"{advice} Errors would be kept and tried again."


def for_answer(verdict: Verdict, location: str, route: Route, by_token: bool) -> Failure:
    """For an answer by which the message is not taken."""
    status = verdict.status or 0
    advice = _for_status(status, location, route)
    if by_token and status in (401, 403):
        advice = (
            "A new OAuth token was refused. In Segment, the OAuth application must be connected to "
            f"the source with this write key. Regions are apart: --host {DEFAULT_HOST}, in the EU "
            f"{EU_HOST} with --oauth-auth-server {EU_AUTH_SERVER}."
        )
    if verdict.retry_after is not None:
        advice += f" It asks for a pause of {verdict.retry_after:.0f} s."
    kept = verdict.outcome is Outcome.RETRY
    consequence = "Errors would be kept and tried again." if kept else "Errors would be given up."
    return Failure(_status(status), f"{advice} {consequence}")


def _for_status(status: int, location: str, route: Route) -> str:
    if status in (401, 403):
        return (
            "The write key was refused, or a firewall refuses the request. Compare the key with "
            f"Connections > Sources > your source > Settings > API Keys. Regions are apart: "
            f"--host {DEFAULT_HOST}, in the EU {EU_HOST}."
        )
    if status in (404, 405):
        return (
            "There is a server, and neither /v1/track nor /v1/batch on it. Give as host what "
            "stands before them, also where that has a path of its own."
        )
    if status == 407:
        return _proxy_login(route)
    if status == 429:
        return "The server is reached, and takes no more requests for the moment. Try again later."
    if 300 <= status < 400:
        to = f" ({location})" if location else ""
        return f"Redirects are not followed: give the final address{to} as host, without /v1/track."
    if status >= 500:
        who = "the proxy or the server behind it" if route.proxy else "the server"
        return f"This machine is all right, and {who} has a problem. Try again later."
    return (
        "The request arrived, and was refused: the answer may say why. Is the host one that takes "
        "Segment's track calls?"
    )


def _status(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
