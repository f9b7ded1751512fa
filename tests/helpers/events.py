"""Events of all kinds: strategies for hypothesis, and corners that every run is to meet.

No promise is made about what Relay does with these, so they are out of all strategies: lone
surrogates (in whose place Relay is sent "?") and NaN (no JSON); integers beyond 64 bits, and
fractions other than eighths (Relay's arithmetic is not exact in the last digit, and it has forms
of its own for what is very small or large); U+001C to U+001F, which Python strips off as white
space, and Relay does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from string import ascii_letters, digits
from typing import Any

from hypothesis import strategies as st


def mostly(usual: st.SearchStrategy[Any], *odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The usual five times out of six."""
    choices = [usual] * 5 * len(odd) + [*odd]
    return st.sampled_from(choices).flatmap(lambda chosen: chosen)


characters = st.characters(codec="utf-8", exclude_characters="\x1c\x1d\x1e\x1f")
words = st.text(ascii_letters + digits + " -_.@/:", max_size=12)
texts = st.one_of(words, words, st.text(characters, max_size=12))
integers = st.integers(-(2**63), 2**63 - 1)
floats = st.integers(-(2**40), 2**40).map(lambda eighths: eighths / 8)
numbers = st.one_of(st.integers(-100, 100), integers, floats)
plain = st.one_of(st.none(), st.booleans(), numbers, texts)
anything = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
something = anything.filter(lambda value: value not in ("", [], {}))


def pairs_or_mapping(names: st.SearchStrategy[Any], values: st.SearchStrategy[Any]) -> Any:
    pair = mostly(st.tuples(names, values).map(list), anything)
    return st.one_of(st.dictionaries(names, values, max_size=4), st.lists(pair, max_size=4))


# A type is inferred from a value like "KeyError: x", for which Relay and Python differ in what
# they count as letters: combining marks and the rarer digits are left out.
values_of_exceptions = st.one_of(
    anything.filter(lambda value: not isinstance(value, str)),
    st.text(ascii_letters + digits + " _:é\n", max_size=12),
)
exception = mostly(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.one_of(st.sampled_from(["KeyError", "", " T "]), texts, anything),
            "value": values_of_exceptions,
            "module": texts,
            "mechanism": st.fixed_dictionaries({"type": words, "handled": st.booleans()}),
            "stacktrace": st.just({"frames": [{"function": "f", "lineno": 1}]}),
        },
    ),
    anything,
)
exceptions = mostly(
    st.fixed_dictionaries({"values": st.lists(exception, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"values": anything}),
    st.lists(exception, max_size=2),
    exception,
)

ip_addresses = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded.upper()),
    st.sampled_from(
        ["{{auto}}", "::ffff:1.2.3.4", "fe80::1%eth0", "1.2.3", "01.2.3.4", "1.2.3.4:80"]
    ),
    anything,
)
user_ids = mostly(
    st.one_of(st.text(characters, min_size=1), integers), anything, st.just("[Filtered]")
)
user = mostly(
    st.fixed_dictionaries(
        {"id": user_ids},
        optional={"ip_address": ip_addresses, "email": texts, "username": texts},
    ),
    st.fixed_dictionaries({"email": texts}),
    anything,
)

# Out are hosts that the URL standard rewrites: percent-encoding, short forms of IPv4
# addresses, long ones of IPv6 addresses, letters that IDNA 2003 and 2008 treat differently;
# credentials with characters that it would encode; and, anywhere in a URL, control characters and
# white space at the end, some of which it drops: no server hands them on.
printable = str.isprintable
hosts = st.one_of(
    st.sampled_from(["shop.example", "SHOP.example", "localhost", "my_host", "10.0.0.1", "[::1]"]),
    st.sampled_from(["bücher.example", "例え.jp", "a b", ""]),
)
ports = st.sampled_from(["", "", ":", ":80", ":443", ":8000", ":65535", ":65536", ":x"])
credentials = st.sampled_from(["", "", "", "user@", "user:secret@", "user:s%40@"])
schemes = st.sampled_from(["http", "https", "HTTPS", "ws", "wss"])
segments = st.one_of(
    st.sampled_from(["", ".", "..", "%2e%2E", "%2e", "a", "é", "%C3%A9", "a b", "%zz"]),
    st.text(ascii_letters + digits + "-_.~!$&'()*+,;=:@%|^[]{}\"<>`\\", max_size=6),
    st.text(characters, max_size=6).filter(printable).map(lambda text: re.sub("[?# ]", "", text)),
)
paths = st.one_of(
    st.just(""), st.lists(segments, max_size=5).map(lambda path: "/" + "/".join(path))
)
query_texts = st.one_of(
    st.text(ascii_letters + digits + "&&&====+%? ", max_size=16),
    st.sampled_from(["a=1&b=2", "q=%C3%A9t%C3%A9", "a=%FF", "a=1;b=2", "é=ü", "[Filtered]"]),
    st.text(st.characters(codec="utf-8", exclude_characters="#"), max_size=8),
)
queries_in_urls = st.one_of(
    st.just(""), query_texts.filter(printable).map(lambda query: "?" + query.strip())
)
fragments = st.one_of(st.just(""), words.map(lambda fragment: "#" + fragment))
absolute = st.builds(
    "{}://{}{}{}{}{}{}".format,
    schemes,
    credentials,
    hosts,
    ports,
    paths,
    queries_in_urls,
    fragments,
)
relative = st.builds("{}{}{}".format, paths, queries_in_urls, fragments).filter(
    lambda url: url not in ("?", "#", "?#")  # empty for Relay, once it is taken apart
)
urls = mostly(absolute, relative, something)

query_strings = st.one_of(
    query_texts, pairs_or_mapping(texts, anything), pairs_or_mapping(texts, texts), anything
)
header_names = st.one_of(
    st.sampled_from(["User-Agent", "user-agent", "USER-AGENT", "Referer", "referer", "REFERER"]),
    st.sampled_from(["Host", "X-Forwarded-For", "Cookie"]),
    texts,
)
header_values = st.one_of(texts, texts, st.lists(plain, max_size=3), anything)


def _is_told_apart(headers: Any) -> bool:
    """Whether Relay, which takes the cookies out of the headers, takes out no other one: where
    something else than a pair stands among them, it does."""
    names = [each[0] for each in headers if isinstance(each, list) and len(each) == 2]
    has_cookies = any(str(name).lower() == "cookie" for name in names)
    return isinstance(headers, dict) or len(names) == len(headers) or not has_cookies


headers = pairs_or_mapping(header_names, header_values).filter(_is_told_apart)
# Out (by `something`) are empty values of a wrong type: where a request has nothing else, Relay
# keeps its note of the error and with it the request, which says nothing then.
request = mostly(
    st.fixed_dictionaries(
        {},
        optional={
            "url": urls,
            "query_string": query_strings,
            "method": st.one_of(
                st.sampled_from(["get", "POST", "M-Search", "\u017fET"]), words, anything
            ),
            "headers": mostly(headers, something),
            "env": mostly(
                st.fixed_dictionaries({"REMOTE_ADDR": ip_addresses, "SERVER_PORT": plain}),
                something,
            ),
            "data": anything,
            "cookies": anything,
            "fragment": something,
        },
    ),
    anything,
)

SETTINGS = ["auto", "never", "legacy", "sometimes"]

versions = st.one_of(
    st.sampled_from(
        ["shop@1.2.3", "production", "none", "NONE", "latest", "Latest", ".", "..", ""]
    ),
    st.sampled_from([64, 65, 200, 201]).map(lambda size: "v" * size),
    st.sampled_from(["é" * 32, "é" * 33, "é" * 100, "é" * 101]),
    texts,
    anything,
)
tag_names = st.one_of(st.sampled_from(["environment", "release", "level", "user"]), texts)
# Out are lists with something else than pairs among them: Relay's look-up then takes a wrong entry.
tags = st.one_of(
    st.dictionaries(tag_names, st.one_of(versions, plain), max_size=4),
    st.lists(st.tuples(tag_names, st.one_of(versions, plain)).map(list), max_size=4),
    anything.filter(lambda value: not isinstance(value, list)),
)
levels = st.one_of(
    st.sampled_from(["debug", "info", "warning", "error", "fatal", "critical", "log", "Error"]),
    st.sampled_from([10, 20, 30, 40, 50, 45, 0]),
    anything,
)
# Out are those before 1970, which Relay refuses together with the event. After 2100 a float no
# longer tells microseconds apart.
moments = st.datetimes(
    datetime(1970, 1, 3),
    datetime(2100, 1, 1),
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
timestamps = st.one_of(
    moments,
    moments.map(datetime.isoformat),
    moments.map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.%f%z")),
    moments.map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.%f123Z")),
    moments.map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S")),
    st.integers(0, 2**32),
    st.integers(0, 2**32).map(lambda eighths: eighths / 8),
    texts,
)

sdk = mostly(
    st.fixed_dictionaries(
        {"name": st.just("sentry.javascript.browser"), "version": st.just("11.0.0")},
        optional={
            "settings": mostly(
                st.fixed_dictionaries(
                    {}, optional={"infer_ip": mostly(st.sampled_from(SETTINGS), anything)}
                ),
                anything,
            )
        },
    ),
    anything,
)

events = st.fixed_dictionaries(
    {
        "exception": exceptions,
        "user": user,
    },
    optional={
        "request": request,
        "level": levels,
        "release": versions,
        "environment": versions,
        "transaction": st.one_of(texts, anything),
        "tags": tags,
        "timestamp": timestamps,
        "type": mostly(
            st.sampled_from(["error", "default", "csp", ""]),
            st.sampled_from(["feedback", "transaction"]),
            anything,
        ),
        "platform": st.one_of(st.sampled_from(["python", "javascript", "native"]), anything),
        "message": texts,
        "sdk": sdk,
    },
)

KNOWN: dict[str, Any] = {"exception": {"values": [{"type": "KeyError"}]}, "user": {"id": "u1"}}
# Values to be met in every run, and not only at times: whole fields, and fields of the request.
CORNERS: dict[str, list[Any]] = {
    "exception": [
        [None, {"type": "KeyError"}],
        {"values": [None]},
        {"values": [{"type": "", "value": "KeyError: x"}, {"type": "ValueError"}]},
        {"values": [{"value": "KeyError"}]},
        {"values": []},
    ],
    "user": [
        *({"id": user_id} for user_id in [0, -0.5, 2.5, True, "", "[Filtered]", " ", None]),
        *({"id": 1, "ip_address": ip} for ip in ["fe80::1%eth0", "::1", "01.2.3.4", ""]),
    ],
    "level": ["critical", "log", 30, 35, "Error"],
    "release": ["..", "LATEST", "none", "a\tb", "a\\b", "é" * 100, "é" * 101, 5],
    "environment": ["..", "latest", "NONE", "a\x7fb", "a/b", "é" * 32, "é" * 33, 5],
    "transaction": [" /checkout ", 5],
    "tags": [{"environment": "a\nb"}, [["environment", " a/b "], ["environment", "c"]]],
    "timestamp": [
        "2026-11-23T04:05:06.1234565Z",
        "2026-11-23T04:05:06.9999996-00:30",
        "2026-02-30T00:00:00.000000Z",
        1704164645.5,
    ],
    "event_id": ["0123456789AbCdEf0123456789aBcDeF", "01234567-89ab-cdef-0123-456789abcdef"],
    "type": ["transaction", "feedback", "default"],
    "sdk": [{"settings": 5}, {"settings": {"infer_ip": None}}, [], "x"],
}
REQUEST_CORNERS: dict[str, list[Any]] = {
    "method": ["ab", "abc", "a-_" * 11, "get", "\u017fET", ""],
    "headers": [
        {"User-Agent": ["", False], "Referer": ["", "", "a", "", "b", None]},
        {"Referer": "1", "referer": "2"},
        {"referer": "1", "Referer": "2"},
        [["referer", "1"], ["Referer", "2"], ["X-Referer", "3"]],
        [["referer", "1"], ["REFERER", None]],
        {"user-agent": ["a", None, 5]},
    ],
    "query_string": [
        "??a=b",
        {"b": {"d": 1, "c": [None, True]}, "a": "x y"},
        [["b", None], ["a", "é"], None, [None, "c"], [5, "d"]],
        "",
    ],
    "url": [
        # Schemes of all kinds, with all, little and nothing behind them.
        "A:",
        "A:b",
        "A:?q",
        "HTTP:",
        "FTP:",
        "file:",
        "File:a/../b c",
        "file://LocalHost/x",
        "file://Shop.example/x",
        "file:C|/x",
        "file:/C:/../x",
        "file:////x",
        "file://a b/x",
        "A:x y ?q ",
        "A:/b/../c",
        "A:/..//b",
        "A:/é`",
        "A:é`",
        "A:\\b",
        "Mailto:Zoe@Shop.example",
        "A://",
        "A://H/x/..",
        "A://H",
        "A://é:080/x\\y",
        "A://h:99999/",
        "A://a b/?b=1",
        "A://u@/",
        "a://u:p q@[::1]:5/x",
        "a://[z]/",
        "https://u x:p@h/",
        "https://:p@h/",
        "https://h%41/",
        "https://h/C:/..",
        "https://h…/x",
        "https://é…",
        "https://h:000443/",
        "https://h/x ?a=1 ",
        "HTTPS://SHOP.example:443/a/./../b\\c/%2E%2e/^|/d e/..?q=#f",
        "HTTP://shop.example:65536/",
        "https://shop.example/a/%2e%2E",
        "https://shop.example/a/../b",
        "https://shop.example/a/..",
        "https://shop.example/./a",
        "https://shop.example/.well-known/a.txt/b../..c/",
        "ws://bücher.example:80",
        " http://shop.ex\tample\n/\r/ ",
        "http://shop.example/cut…",
        "/cart?a=1#?b",
        "/cart??a=1",
        "/cart???a=1",
        "http://a b??a=1",
        "http://shop.example??a=1",
        "app://shop??a=1",
        "http://shop.example/?a=cut…",
        "/cart??cut…",
    ],
    "env": [{"REMOTE_ADDR": "2001:DB8::1"}, {"REMOTE_ADDR": "10.0.0.1:80"}],
    "fragment": ["f", ""],
}


def corners() -> Iterator[dict[str, Any]]:
    for field_name, values in CORNERS.items():
        yield from ({"environment": "", **KNOWN, field_name: value} for value in values)
    for field_name, values in REQUEST_CORNERS.items():
        yield from ({**KNOWN, "request": {field_name: value}} for value in values)
    for setting in (*SETTINGS, 5, ["auto"]):
        sdk = {"name": "sentry.javascript.browser", "settings": {"infer_ip": setting}}
        for address in ("192.0.2.1", "{{auto}}", None):
            user = {"id": "1", "ip_address": address}
            env = {"REMOTE_ADDR": "10.0.0.1"}
            yield {**KNOWN, "user": user, "sdk": sdk, "request": {"env": env}}


def contents(value: Any) -> Iterator[Any]:
    """A value and all that is in it."""
    yield value
    if isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from contents(part)
