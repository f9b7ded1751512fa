"""What secrets are made of, and what Relay leaves of them."""

from __future__ import annotations

from hypothesis import strategies as st

import plugin
from sentry_segment.mapping import scrub

FILTERED = "[Filtered]"


PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"


# What secrets are made of, and what is like them
PIECES = [
    *("4111111111111111", "4111111111111112", "4111 1111 1111 1111", "4111-1111-1111-1111"),
    *("378282246310005", "3782 822463 10005", "5105105105105100", "6011000990139424", "3782", "4"),
    *("DE89370400440532013000", "GB82WEST12345698765432", "XX89370400440532013000", "DE89", "1111"),
    *("078-05-1120", "078", "-05-", "1120", "123456789", "2026-11-27", "1234567890123"),
    *("Bearer abc.def-ghi", "bearer", "Bearer ", "BEARER\t", "eyJhbGciOiJIUzI1NiJ9.e30.abc"),
    *(PEM, "-----BEGIN", "-----END", " PRIVATE KEY-----", " PUBLIC KEY", "-----", "RSA ", "X"),
    *("https://u:p@h.de/", "://", "h://", "//", "u:p@", "mongodb://root:pw@db:27017", "user", "%"),
    *("password", "passwd", "pass", "word", "secret", "api", "key", "_key", "-key", "private"),
    *("auth", "author", "credentials", "mysql_pwd", "token", "TOKEN", "otp", "OTP", "Secret"),
    *("page", "q", "sort", "a", "1", "é", "字", "😀", "²", "\u0661", "\u0301", "\u200d", "\u24b6"),
    *(
        " ",
        "  ",
        "\0",
        "\n",
        "\r\n",
        "\t",
        "\x1c",
        "\xa0",
        "\u2003",
        "=",
        ":",
        "-",
        "_",
        ".",
        "/",
        "@",
    ),
    *(",", ";", "+", "?", "&", "\u017f", "\u212a", FILTERED, "'", '"'),
]


texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


names = st.one_of(
    st.sampled_from(["page", "q", "token", "api_key", "password", "otp", "access-token", "é"]),
    texts,
)


pairs = st.lists(st.tuples(names, texts), max_size=4)


def relay_values(values: list[str], names: list[str] | None = None) -> list[str]:
    """What Relay makes of these values of parameters that have these names (`a` is harmless)."""
    names = names or ["a"] * len(values)
    request = {"query_string": [list(pair) for pair in zip(names, values, strict=True)]}
    left = plugin.stripped({"type": "error", "request": request})
    return [value for _, value in left["request"]["query_string"]]


def page(
    url: str, search: str, referrer: str, further: frozenset[str] = frozenset()
) -> tuple[str, str, str]:
    """What is sent of a page."""
    return scrub.url(url, further), scrub.query(search, further), scrub.referrer(referrer, further)


FURTHER = frozenset(
    {"session", "x-key", "my key", "schlüssel", "a?b", "c+d", "e&f", "g=h"},
)
