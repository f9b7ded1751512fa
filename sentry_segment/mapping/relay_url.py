"""How Relay reads a URL: by the URL standard, and as it is where it is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote, unquote

# Characters that a path keeps as they are; the others are percent-encoded
# (https://url.spec.whatwg.org/#path-percent-encode-set).
_PATH_SAFE = "/%!$&'()*+,;=:@[]|^~\\"
_PLAIN_URL = re.compile(
    r"https?://[a-z0-9][a-z0-9.-]*(?::[0-9]{4,5})?(?:/(?!\.)[A-Za-z0-9_!$&'()*+,;=:@~.-]*)+"
)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443, "ftp": 21}
_HOST_FORBIDDEN = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]")
_OPAQUE_HOST_FORBIDDEN = re.compile(r"[\x00\t\n\r #/:<>?@\[\\\]^|]")
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
_DRIVE = re.compile(r"[A-Za-z][:|]")


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
        value = value[:-1] + "..."
        plain = value.partition("#")[0].partition("?")[0]
    standard = _standard_url(value)
    return plain if standard is None else standard


def query_in(url: str) -> str:
    """The query of a URL, as text."""
    if url.endswith("…"):  # Relay spells it out
        url = url[:-1] + "..."
    is_url = _standard_url(url) is not None
    found = (_trimmed(url) if is_url else url).partition("#")[0].partition("?")[2]
    # What is no URL to Relay, it reads as text, as it does a query string.
    return found if is_url else found.removeprefix("?")


def _standard_url(value: str) -> str | None:
    """The URL standard's serialisation without query and fragment (https://url.spec.whatwg.org/).

    `None` where it is no URL by the standard.
    """
    match = _URL.fullmatch(_trimmed(value).partition("#")[0].partition("?")[0])
    if not match:
        return None
    scheme, rest = match[1].lower(), match[2]
    if scheme in _DEFAULT_PORTS:
        return _special_url(scheme, rest.replace("\\", "/"))
    if scheme == "file":
        return _file_url(rest.replace("\\", "/"))
    if rest.startswith("//"):
        return _url_of_other_scheme(scheme, rest[2:])
    if not rest.startswith("/"):
        return f"{scheme}:{quote(rest.rstrip(' '), safe=_PRINTABLE, errors='replace')}"
    path = _path(rest)
    # Or what follows would be taken for a host.
    return f"{scheme}:/.{path}" if path.startswith("//") else f"{scheme}:{path}"


def _trimmed(value: str) -> str:
    return re.sub(r"[\t\r\n]", "", value.strip("".join(map(chr, range(0x21)))))


def _special_url(scheme: str, rest: str) -> str | None:
    authority, slash, path = rest.lstrip("/").partition("/")
    userinfo, _, host_and_port = authority.rpartition("@")
    host = _host_and_port(host_and_port, _DEFAULT_PORTS[scheme], _domain)
    return host and f"{scheme}://{_userinfo(userinfo)}{host}{_path(slash + path)}"


def _url_of_other_scheme(scheme: str, rest: str) -> str | None:
    authority, slash, path = rest.partition("/")
    userinfo, _, host_and_port = authority.rpartition("@")
    host = _host_and_port(host_and_port, None, _opaque_host) if authority else ""
    if host is None:
        return None
    return f"{scheme}://{_userinfo(userinfo)}{host}{_path(slash + path) if slash else ''}"


def _file_url(rest: str) -> str | None:
    """A URL of a file, which has a host only if that stands between two slashes and a third."""
    host: str | None = ""
    if rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        if _DRIVE.fullmatch(authority):
            rest = rest[1:]
        else:
            rest = slash + path
            host = _host(authority, _domain) if authority else ""
    path = "/" + _path("/" + rest.lstrip("/")).lstrip("/")
    if _DRIVE.match(path[1:]) and path[3:4] in ("", "/"):
        path = f"/{path[1]}:{path[3:]}"
    return None if host is None else f"file://{'' if host == 'localhost' else host}{path}"


def _userinfo(text: str) -> str:
    """User name and password, with an `@`; none where both are empty."""
    name, _, password = (
        quote(part, safe="%!$&'()*+,", errors="replace") for part in text.partition(":")
    )
    return f"{name}{password and ':' + password}@" if name or password else ""


def _host_and_port(
    value: str, default: int | None, domain: Callable[[str], str | None]
) -> str | None:
    match = re.fullmatch(r"(\[[^]]*\]|[^:]+)(?::([0-9]*))?", value)
    host = _host(match[1], domain) if match else None
    if not match or host is None:
        return None
    if not match[2]:
        return host
    digits = match[2].lstrip("0") or "0"
    if len(digits) > 5 or int(digits) > 65535:
        return None
    return host if int(digits) == default else f"{host}:{digits}"


def _host(host: str, domain: Callable[[str], str | None]) -> str | None:
    if host.startswith("["):
        return host.lower() if re.fullmatch(r"\[[0-9A-Fa-f:.]+\]", host) else None
    return domain(host)


def _domain(host: str) -> str | None:
    host = unquote(host).lower()
    if len(host) > 253 or "…" in host:  # no name is longer (RFC 1035); and its dots are none
        return None
    try:
        if not host.isascii():
            host = ".".join(label.encode("idna").decode() for label in host.split("."))
    except UnicodeError:
        return None
    return None if _HOST_FORBIDDEN.search(host) else host


def _opaque_host(host: str) -> str | None:
    if _OPAQUE_HOST_FORBIDDEN.search(host):
        return None
    return quote(host, safe=_PRINTABLE, errors="replace")


def _path(path: str) -> str:
    return _without_dots(quote(path, safe=_PATH_SAFE, errors="replace"))


def _without_dots(path: str) -> str:
    """The path with its `.` and `..` segments resolved; what looks like a drive stays."""
    kept: list[str] = []
    segments = path.split("/")[1:] or [""]
    for index, segment in enumerate(segments):
        dots = segment.lower().replace("%2e", ".")
        if dots == ".." and kept and not _DRIVE.fullmatch(kept[-1]):
            kept.pop()
        if dots not in (".", ".."):
            kept.append(segment)
        elif index == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)
