"""What Segment receives is what Sentry's server-side plugin would have sent for the same events.

The reference is made of the very bytes that Sentry was sent: see `plugin`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from string import ascii_letters, digits
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import sentry_sdk
from hypothesis import example, given, settings
from hypothesis import strategies as st

import plugin
from apps import SHOPS
from demo.collector import Collector
from support import Init

FLUSH_TIMEOUT = 10.0


def payloads(envelopes: list[bytes]) -> Iterator[bytes]:
    """The events in envelopes, as they came (the SDK writes each item's length)."""
    for envelope in envelopes:
        _, _, rest = envelope.partition(b"\n")
        while rest.strip():
            head, _, rest = rest.partition(b"\n")
            header = json.loads(head)
            payload, rest = rest[: header["length"]], rest[header["length"] + 1 :]
            if header["type"] == "event":
                yield payload


def assert_parity(sent: list[bytes], messages: list[dict[str, Any]], started: datetime) -> None:
    """Segment has exactly the messages that the plugin would have sent for Sentry's events."""
    finished = datetime.now(timezone.utc)
    received = {message["messageId"]: plugin.as_the_plugin(message) for message in messages}
    assert len(received) == len(messages)
    expected = {}
    for payload in sent:
        event = plugin.normalise(payload)
        call = plugin.track_call(event)
        if call is None:
            continue
        message = received.get(call["messageId"])
        if message and not plugin.has_own_timestamp(event, json.loads(payload)):
            # Relay then takes the present time, as the mirror did when the event was captured.
            assert micro(started) <= message["timestamp"] <= micro(finished)
            call["timestamp"] = message["timestamp"]
        expected[call["messageId"]] = call
    assert received == expected


def micro(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)


# --- Generated events ---------------------------------------------------------------------------
#
# No promise is made about what Relay does with these, so they are out of all strategies: lone
# surrogates (in whose place Relay is sent "?") and NaN (no JSON); integers beyond 64 bits, and
# fractions other than eighths (Relay's arithmetic is not exact in the last digit, and it has forms
# of its own for what is very small or large); U+001C to U+001F, which Python strips off as white
# space, and Relay does not.

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
    pair = st.one_of(*[st.tuples(names, values).map(list)] * 9, anything)
    return st.one_of(st.dictionaries(names, values, max_size=4), st.lists(pair, max_size=4))


# A type is inferred from a value like "KeyError: x", for which Relay and Python differ in what
# they count as letters: combining marks and the rarer digits are left out.
values_of_exceptions = st.one_of(
    anything.filter(lambda value: not isinstance(value, str)),
    st.text(ascii_letters + digits + " _:é\n", max_size=12),
)
exception = st.one_of(
    *[
        st.fixed_dictionaries(
            {},
            optional={
                "type": st.one_of(st.sampled_from(["KeyError", "", " T "]), texts, anything),
                "value": values_of_exceptions,
                "module": texts,
                "mechanism": st.fixed_dictionaries({"type": words, "handled": st.booleans()}),
                "stacktrace": st.just({"frames": [{"function": "f", "lineno": 1}]}),
            },
        )
    ]
    * 9,
    anything,
)
exceptions = st.one_of(
    *[st.fixed_dictionaries({"values": st.lists(exception, min_size=1, max_size=3)})] * 6,
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
user = st.one_of(
    *[
        st.fixed_dictionaries(
            {"id": st.one_of(texts, texts, integers, anything, st.just("[Filtered]"))},
            optional={"ip_address": ip_addresses, "email": texts, "username": texts},
        )
    ]
    * 9,
    st.fixed_dictionaries({"email": texts}),
    anything,
)

# Out are hosts that the URL standard rewrites: percent-encoding, short forms of IPv4
# addresses, long ones of IPv6 addresses, letters that IDNA 2003 and 2008 treat differently;
# and credentials with characters that it would encode.
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
    st.text(st.characters(codec="utf-8", exclude_characters="?#"), max_size=6),
)
paths = st.one_of(
    st.just(""), st.lists(segments, max_size=5).map(lambda path: "/" + "/".join(path))
)
query_texts = st.one_of(
    st.text(ascii_letters + digits + "&&&====+%? ", max_size=16),
    st.sampled_from(["a=1&b=2", "q=%C3%A9t%C3%A9", "a=%FF", "a=1;b=2", "é=ü", "[Filtered]"]),
    st.text(st.characters(codec="utf-8", exclude_characters="#"), max_size=8),
)
queries_in_urls = st.one_of(st.just(""), query_texts.map(lambda query: "?" + query))
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
urls = st.one_of(absolute, absolute, absolute, relative, something)

query_strings = st.one_of(
    query_texts, pairs_or_mapping(texts, anything), pairs_or_mapping(texts, texts), anything
)
header_names = st.one_of(
    st.sampled_from(["User-Agent", "user-agent", "USER-AGENT", "Referer", "referer", "REFERER"]),
    st.sampled_from(["Host", "X-Forwarded-For", "Cookie"]),
    texts,
)
header_values = st.one_of(texts, texts, st.lists(plain, max_size=3), anything)
# Out (by `something`) are empty values of a wrong type: where a request has nothing else, Relay
# keeps its note of the error and with it the request, which says nothing then.
request = st.one_of(
    *[
        st.fixed_dictionaries(
            {},
            optional={
                "url": urls,
                "query_string": query_strings,
                "method": st.one_of(
                    st.sampled_from(["get", "POST", "M-Search", "\u017fET"]), anything
                ),
                "headers": st.one_of(
                    pairs_or_mapping(header_names, header_values),
                    pairs_or_mapping(header_names, header_values),
                    something,
                ),
                "env": st.one_of(
                    st.fixed_dictionaries({"REMOTE_ADDR": ip_addresses, "SERVER_PORT": plain}),
                    something,
                ),
                "data": anything,
                "cookies": anything,
                "fragment": something,
            },
        )
    ]
    * 6,
    anything,
)

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
        "type": st.one_of(
            st.sampled_from(["error", "default", "csp", "feedback", "transaction", ""]), anything
        ),
        "platform": st.one_of(st.sampled_from(["python", "javascript", "native"]), anything),
        "message": texts,
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
}
REQUEST_CORNERS: dict[str, list[Any]] = {
    "method": ["ab", "abc", "a-_" * 11, "get", "\u017fET", ""],
    "headers": [
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
        "HTTPS://SHOP.example:443/a/./../b\\c/%2E%2e/^|/d e/..?q=#f",
        "HTTP://shop.example:65536/",
        "ws://bücher.example:80",
        " http://shop.ex\tample\n/\r/ ",
        "http://shop.example/cut…",
        "/cart?a=1#?b",
    ],
    "env": [{"REMOTE_ADDR": "2001:DB8::1"}, {"REMOTE_ADDR": "10.0.0.1:80"}],
    "fragment": ["f", ""],
}


def corners() -> Iterator[dict[str, Any]]:
    for field_name, values in CORNERS.items():
        yield from ({"environment": "", **KNOWN, field_name: value} for value in values)
    for field_name, values in REQUEST_CORNERS.items():
        yield from ({**KNOWN, "request": {field_name: value}} for value in values)


def test_generated_events(collector: Collector, init: Init) -> None:
    """Whatever the event: what is mirrored, and what not, is what the plugin would have sent."""
    init(
        before_send=lambda event, hint: {**event, **hint["late"]},
        send_default_pii=True,
        auto_enabling_integrations=False,
    )

    # late: fields that are put in by before_send, and so pass by the SDK's own preparations. It
    # has to be that way for exceptions that the SDK itself would choke on.
    @settings(max_examples=500, deadline=None, database=None)
    @given(event=events, late=st.sets(st.sampled_from(["user", "request", "tags"])))
    def run(event: Any, late: set[str]) -> None:
        before = len(collector.envelopes), len(collector.messages)
        started = datetime.now(timezone.utc)
        late = {name for name in late | {"exception"} if name in event}
        hint = {"late": {name: event.pop(name) for name in late}}
        sentry_sdk.capture_event(event, hint)
        sentry_sdk.flush(FLUSH_TIMEOUT)
        sent = list(payloads(collector.envelopes[before[0] :]))
        assert len(sent) == (event.get("type") != "transaction")
        assert_parity(sent, collector.messages[before[1] :], started)

    for corner in corners():
        run = example(event=corner, late=set())(run)
    run()
    assert 50 < len(collector.messages) < len(collector.events) - 50


# --- Events of real applications ----------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """A request to a shop, and the type of the first exception where Segment gets a message."""

    method: str
    path: str
    user: str | None
    mirrored: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0",
    "Referer": "https://shop.example/cart?step=2#total",
}
PROXIED = {"X-Forwarded-For": "203.0.113.7, 10.0.0.1"}
VISITS = [
    Visit("GET", "/crash?article=%C3%A9t%C3%A9&size=&size=38", "jo", "ValueError", BROWSER),
    Visit("GET", "/crash", "42", "ValueError", PROXIED),
    Visit("GET", "/chained?q=a+b%26c&token=secret", "jo", "KeyError", {**BROWSER, **PROXIED}),
    Visit("POST", "/handled?coupon", "0", "ValueError", BROWSER),
    Visit("POST", "/crash?a=1;b=2", "zoe@shop.example", "ValueError"),
    Visit("GET", "/crash?article=1", None, headers=BROWSER),
    Visit("POST", "/chained", None),
    Visit("GET", "/handled", None, headers=PROXIED),
    Visit("GET", "/message?article=1", "jo", headers=BROWSER),
]


@pytest.mark.parametrize("pii", [True, False], ids=["with pii", "without pii"])
@pytest.mark.parametrize("framework", SHOPS)
def test_events_of_applications(
    framework: str, pii: bool, collector: Collector, init: Init
) -> None:
    """What Segment gets of a web application's errors is what the plugin would have sent."""
    init(send_default_pii=pii)
    started = datetime.now(timezone.utc)
    # Each request has a connection of its own: uvicorn closes it once it has answered with a 500.
    limits = httpx.Limits(max_keepalive_connections=0)
    with (
        SHOPS[framework]() as url,
        httpx.Client(base_url=url, limits=limits, trust_env=False) as browser,
    ):
        for visit in VISITS:
            headers = visit.headers | ({} if visit.user is None else {"X-User": visit.user})
            content = b'{"articles": [1, 2]}' if visit.method == "POST" else None
            response = browser.request(visit.method, visit.path, headers=headers, content=content)
            crashes = visit.path.startswith(("/crash", "/chained"))
            assert response.status_code == (500 if crashes else 200)
    sentry_sdk.flush(FLUSH_TIMEOUT)

    events, messages = collector.events, collector.messages
    assert_parity(list(payloads(collector.envelopes)), messages, started)

    assert len(events) == len(VISITS)
    mirrored = [visit for visit in VISITS if visit.mirrored]
    assert [(m["userId"], m["properties"]["exceptionType"]) for m in messages] == [
        (visit.user, visit.mirrored) for visit in mirrored
    ]
    for visit, message in zip(mirrored, messages, strict=True):
        context, page = message["context"], message["context"]["page"]
        path, _, search = visit.path.partition("?")
        assert (page["method"], page["url"]) == (visit.method, url + path)
        # From ASGI applications the SDK sends it decoded.
        assert page["search"] in (search, unquote(search))
        assert page["referrer"] == visit.headers.get("Referer", "")
        assert context["userAgent"] == visit.headers.get(
            "User-Agent", browser.headers["User-Agent"]
        )
        address = "203.0.113.7" if "X-Forwarded-For" in visit.headers else "127.0.0.1"
        assert context.get("ip") == (address if pii else None)
    if framework == "fastapi":
        assert all("user-agent" in event["request"]["headers"] for event in events)
