"""How Relay reads a URL: by the URL standard, and as it is where it is none."""

from __future__ import annotations

import re
from urllib.parse import quote

# Characters that a path keeps as they are; the others are percent-encoded
# (https://url.spec.whatwg.org/#path-percent-encode-set).
_PATH_SAFE = "/%!$&'()*+,;=:@[]|^~"
_PLAIN_URL = re.compile(
    r"https?://[a-z0-9][a-z0-9.-]*(?::[0-9]{4,5})?(?:/(?!\.)[A-Za-z0-9_!$&'()*+,;=:@~.-]*)+"
)
_SPECIAL_URL = re.compile(r"(https?|wss?|ftp):[/\\]*([^/\\]*)(.*)", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"(?!https?:|wss?:|ftp:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443, "ftp": 21}
_HOST_FORBIDDEN = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]")


def url(value: object) -> str:
    """The URL without query and fragment, in the form that the URL standard gives it."""
    if not isinstance(value, str):
        return ""
    value = str.__str__(value)
    if _PLAIN_URL.fullmatch(value):
        return value
    plain = value.partition("#")[0].partition("?")[0]
    if _PLAIN_URL.fullmatch(plain):
        return plain
    if value.endswith("…"):  # Relay spells it out
        plain = (value[:-1] + "...").partition("#")[0].partition("?")[0]
    return _standard_url(plain) or plain


def query_in(url: str) -> str:
    """The query of a URL, as text."""
    if url.endswith("…"):  # Relay spells it out
        url = url[:-1] + "..."
    beginning, _, found = url.partition("#")[0].partition("?")
    if found.startswith("?") and not _has_scheme(beginning):
        return found[1:]  # what is no URL to Relay, it reads as text, as it does a query string
    return found


def _has_scheme(url: str) -> bool:
    return _standard_url(url) is not None or _OTHER_SCHEME.match(url) is not None


def _standard_url(value: str) -> str | None:
    """The URL standard's serialisation of an http-like URL (https://url.spec.whatwg.org/)."""
    value = re.sub(r"[\t\r\n]", "", value.strip("".join(map(chr, range(0x21)))))
    match = _SPECIAL_URL.fullmatch(value)
    if not match:
        return None
    scheme, authority, path = match[1].lower(), match[2], match[3]
    userinfo, at, host_and_port = authority.rpartition("@")
    host = _host_and_port(scheme, host_and_port)
    if host is None:
        return None
    encoded = quote(path.replace("\\", "/"), safe=_PATH_SAFE, errors="replace")
    return f"{scheme}://{userinfo}{at}{host}{_without_dots(encoded)}"


def _host_and_port(scheme: str, value: str) -> str | None:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:]+)(?::([0-9]{0,9}))?", value)
    if not match:
        return None
    host, port = match[1].lower(), int(match[2]) if match[2] else None
    if len(host) > 253:  # no name is longer (RFC 1035)
        return None
    if not host.startswith("["):
        try:
            host = host.encode("idna").decode() if not host.isascii() else host
        except UnicodeError:
            return None
        if _HOST_FORBIDDEN.search(host):
            return None
    if port is not None and port > 65535:
        return None
    return host if port in (None, _DEFAULT_PORTS[scheme]) else f"{host}:{port}"


def _without_dots(path: str) -> str:
    """The path with its `.` and `..` segments resolved."""
    kept: list[str] = []
    segments = path.split("/")[1:] or [""]
    for index, segment in enumerate(segments):
        dots = segment.lower().replace("%2e", ".")
        if dots == ".." and kept:
            kept.pop()
        if dots not in (".", ".."):
            kept.append(segment)
        elif index == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)
