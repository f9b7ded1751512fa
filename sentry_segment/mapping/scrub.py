"""What Sentry's servers filter by default, filtered in the texts of a message.

Sentry's server-side plugin reads an event after Relay has scrubbed it. Of the fields that a
message is made of, Relay's default rules reach the query string and the headers but for
`User-Agent`. They leave transaction, release, environment, exception type, URL and user agent as
they are, whatever those hold, and so does the mirror.

It departs from Relay in two places. User name and password are taken out of each URL. And a
referrer's parameters are filtered one by one, where Relay filters the whole referrer for one.

`further` are names of parameters that are filtered besides, in lower case: what the SDK knows as
secret. They are compared as the SDK does, in any case.
"""

from __future__ import annotations

import re
from collections.abc import Container

from sentry_segment.mapping import sensitive
from sentry_segment.mapping.sensitive import FILTERED

_NONE: frozenset[str] = frozenset()
_BEFORE_AUTHORITY = re.compile(
    r"[\0- ]*(?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2}|(?:https?|wss?|ftp):)[/\\]*", re.IGNORECASE
)
_MOST = 40_000  # characters; a message has 32,000 bytes
_ENDLESS = 400_000  # what is longer is not even looked at for whether something may be filtered
_MOST_PARAMETERS = 1_000  # which is what Django and PHP take by default
_AFTER_AUTHORITY = re.compile("[/?#]")
_DIGITS = "0123456789ABCDEFabcdef"
_BYTES = {f"{a}{b}".encode(): bytes.fromhex(a + b) for a in _DIGITS for b in _DIGITS}
_MEANS_SOMETHING = re.compile(r"[\0- \"#%&+<>\x7f]")


def is_suspicious(texts: str, further: Container[str] = _NONE) -> bool:
    """Whether something may have to be filtered in some of these texts, joined by `&`.

    Cheap, for of most messages it is not true: one look at all of a message's texts.
    """
    if (
        "@" in texts
        or "#" in texts
        or len(texts) > _MOST
        or texts.count("&") >= _MOST_PARAMETERS
        or sensitive.may_be_in(texts)
    ):
        return True
    if "%" in texts and sensitive.may_be_in(_decoded(texts)):
        return True
    return bool(further) and _may_have_name(texts, further)


def _may_have_name(texts: str, names: Container[str]) -> bool:
    """Whether a parameter may have one of these names."""
    for before in texts.replace("+", " ").split("=")[:-1]:
        name = before.rpartition("&")[2]
        # It is read only now: a name may have a `&` or `=` that is encoded.
        if _decoded(name).lower() in names:
            return True
        # In a referrer, the address is before it.
        if "?" in name and _decoded(name.partition("?")[2]).lower() in names:
            return True
    return False


def query(text: str, further: Container[str] = _NONE) -> str:
    """A query string, each parameter filtered by its name and by what its value looks like.

    What isn't filtered stays as it is written, also where that is no proper query string.
    Parameters behind the first 1,000 are left out, and where something may have to be filtered,
    those that no message has room for. So are those of an endless one that it has no room for, for
    that is not looked at: all this may be in the midst of the application's work.
    """
    return "&".join([_parameter(pair, further) for pair in _bounded(text).split("&")])


def _bounded(query: str) -> str:
    if query.count("&") >= _MOST_PARAMETERS:
        query = "&".join(query.split("&", _MOST_PARAMETERS)[:-1])
    if _is_too_long(query):
        # Whole parameters: a part of a value may not look like what the whole is filtered for.
        query = query[:_MOST].rpartition("&")[0]
    return query


def _is_too_long(text: str) -> bool:
    """Whether no message has room for it, and something may have to be filtered in it."""
    return len(text) > _MOST and (len(text) > _ENDLESS or "%" in text or sensitive.may_be_in(text))


def _without_secrets(text: str) -> str:
    """A text that is not too long, filtered by what it looks like."""
    # If it is longer nevertheless, it was looked at already, and has nothing to be filtered.
    return text if len(text) > _MOST else sensitive.value(text)


def _parameter(pair: str, further: Container[str]) -> str:
    name, _, value = pair.partition("=")
    if not value:
        return pair
    read_name = _read(name)
    if sensitive.is_name(read_name) or read_name.lower() in further:
        return f"{name}={FILTERED}"
    read = _read(value)
    rest = _without_secrets(read)
    if rest == read:
        return pair
    return f"{name}={rest if read == value else _MEANS_SOMETHING.sub(_encoded, rest)}"


def _read(text: str) -> str:
    """A name or a value as a server reads it."""
    return _decoded(text.replace("+", " "))


def _decoded(text: str) -> str:
    """The text without percent-encoding, as `urllib.parse.unquote` has it.

    That takes ten times as long for a `%` with nothing behind it.
    """
    if "%" not in text:
        return text
    # A lone surrogate is sent as "?" in any case.
    parts = text.encode("utf-8", "replace").split(b"%")
    decoded = parts[:1]
    for part in parts[1:]:
        byte = _BYTES.get(part[:2])
        decoded.append(b"%" + part if byte is None else byte + part[2:])
    return b"".join(decoded).decode("utf-8", "replace")


def _encoded(match: re.Match[str]) -> str:
    return "+" if match[0] == " " else f"%{ord(match[0]):02X}"


def url(text: str, further: Container[str] = _NONE) -> str:
    """A URL without query and fragment."""
    return without_user(text)


def without_user(url: str) -> str:
    """A URL without user name and password."""
    if "@" not in url:
        return url
    before = _BEFORE_AUTHORITY.match(url)
    if before is None:
        return url
    after = _AFTER_AUTHORITY.search(url, before.end())
    at = url.rfind("@", before.end(), after.start() if after else len(url))
    return url if at < 0 else url[: before.end()] + url[at + 1 :]


def referrer(text: str, further: Container[str] = _NONE) -> str:
    """The header `Referer`: its parameters as a query string's, the rest as Relay does any header.

    A fragment with parameters in it, or with something to filter, is cut off.
    """
    address, hash_sign, fragment = without_user(text).partition("#")
    address, question_mark, search = address.partition("?")
    if _is_too_long(address):
        return ""
    rest = _without_secrets(address)
    if rest == FILTERED:
        return FILTERED
    if "=" in fragment or _is_too_long(fragment) or _without_secrets(fragment) != fragment:
        hash_sign = fragment = ""
    return f"{rest}{question_mark}{query(search, further)}{hash_sign}{fragment}"
