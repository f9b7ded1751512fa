"""What Segment gets is free of what Relay would have filtered: held against Relay itself.

The reference is what the plugin would have sent of an event that Relay has normalised and scrubbed
by its default rules, with our departures put as the docs have them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote_plus, urlencode

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sentry_sdk.scrubber import EventScrubber

import plugin
from leaks import FILTERED, FURTHER, page, pairs, relay_values, texts
from sentry_segment.mapping import scrub, sensitive
from support import many, message_for

BROKEN = ["%", "%zz", "%C3%28", "%4", "%00", "&&", ";", "=", "?", "%26", "%3D", "+", "%70assword"]


# Whole messages


def as_the_plugin(event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is sent for an event, and what the plugin would have sent, both in comparable form."""
    message: Any = message_for(event, "Error Captured")
    call = plugin.track_call(plugin.normalise(json.dumps(event).encode()))
    assert call is not None
    return plugin.as_the_plugin(message), call


@st.composite
def query_strings(draw: st.DrawFn) -> Any:
    """As text, mapping or pairs; `None` where the URL has it."""
    kind = draw(st.sampled_from(["text", "text", "mapping", "pairs", "url"]))
    found = draw(pairs)
    if kind == "mapping":
        return dict(found)
    if kind == "pairs":
        return [list(pair) for pair in found]
    return None if kind == "url" else draw(encoded(found))


@st.composite
def encoded(draw: st.DrawFn, found: list[tuple[str, str]]) -> str:
    """A query string with these parameters, in one of the ways in which they are written."""
    ways: list[Callable[[str], str]] = [quote, quote_plus, str, lambda t: t.replace(" ", "+")]
    write = draw(st.sampled_from(ways))
    written = [f"{write(name)}={write(value)}" for name, value in found]
    broken = draw(st.lists(st.sampled_from(BROKEN), max_size=2))
    return "&".join(draw(st.permutations([*written, *broken])))


plain_texts = texts.filter(lambda text: text.isascii() and len(text) < 64 and text == text.strip())


@st.composite
def secret_events(draw: st.DrawFn) -> dict[str, Any]:
    query_string = draw(query_strings())
    url = draw(st.sampled_from(["https://shop.example/", "https://u:p@shop.example/"]))
    url += quote(draw(plain_texts))
    if query_string is None:
        url += "?" + urlencode(draw(pairs)) + draw(st.sampled_from(["", "#token=4&password=x"]))
    agent = draw(plain_texts)
    return {
        "event_id": "4" * 32,
        "timestamp": "2026-11-27T02:15:43.000000Z",
        "platform": "python",
        "transaction": draw(plain_texts),
        "release": re.sub(r"[\0-\x1f/\\]", "", draw(plain_texts)),
        "environment": re.sub(r"[\0-\x1f/\\]", "", draw(plain_texts)),
        "user": {
            "id": draw(st.sampled_from(["4111111111111111", "jo", "078-05-1120"])),
            "ip_address": "203.0.113.7",
        },
        "exception": {"values": [{"type": draw(plain_texts) or "Error", "value": "x"}]},
        "request": {
            "url": url[:250],
            "method": "GET",
            "query_string": query_string,
            "headers": {"User-Agent": agent},
        },
    }


@settings(max_examples=many(4000), deadline=None, database=None)
@given(event=secret_events())
def test_messages_are_as_from_a_scrubbed_event(event: dict[str, Any]) -> None:
    sent, expected = as_the_plugin(event)
    page = expected["context"]["page"]
    page["url"] = page["url"].replace("https://u:p@shop", "https://shop")
    assert sent == expected


# The query string


@settings(max_examples=many(3000), deadline=None, database=None)
@given(query=pairs.flatmap(encoded))
def test_a_query_string_is_as_it_was_but_for_what_is_filtered(query: str) -> None:
    before, after = query.split("&"), scrub.query(query).split("&")
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert new == old or FILTERED in new
        name, value = [unquote_plus(part) for part in old.partition("=")[::2]]
        if not sensitive.is_name(name) and sensitive.value(value) == value:
            assert new == old


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ""),
        ("page=2", "page=2"),
        ("token=abc&page=1&q=4111+1111+1111+1111", "token=[Filtered]&page=1&q=[Filtered]"),
        ("q=a%26b+4111111111111111%2B1", "q=a%26b+[Filtered]%2B1"),
        ("q=%C3%A9+078-05-1120&r=%C3%A9", "q=é+[Filtered]&r=%C3%A9"),
        ("a=1;password=x&b=2", "a=[Filtered]&b=2"),
        ("token=1&token=2&token", "token=[Filtered]&token=[Filtered]&token"),
        ("p%61ssword=x&a=%zz&&=&%", "p%61ssword=[Filtered]&a=%zz&&=&%"),
        ("password=", "password="),
        ("\ud800=\udfff&token=\ud800", "\ud800=\udfff&token=[Filtered]"),
        ("a=\ud800%20Bearer%20x", "a=?+[Filtered]"),  # in which it has no UTF-8
    ],
)
def test_query_strings(query: str, expected: str) -> None:
    assert scrub.query(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("session=1&sessions=2", "session=[Filtered]&sessions=2"),
        ("SESSION=1", "SESSION=[Filtered]"),
        ("page=1&X-Key=2", "page=1&X-Key=[Filtered]"),
        ("my+key=1&my%20Key=2", "my+key=[Filtered]&my%20Key=[Filtered]"),
        ("schl%C3%BCssel=1&SCHLÜSSEL=2", "schl%C3%BCssel=[Filtered]&SCHLÜSSEL=[Filtered]"),
        ("session=&session", "session=&session"),
        ("a=session&%=b", "a=session&%=b"),
        ("a%3Fb=1&c%2BD=2", "a%3Fb=[Filtered]&c%2BD=[Filtered]"),
        ("e%26f=1&g%3Dh=2", "e%26f=[Filtered]&g%3Dh=[Filtered]"),
    ],
)
def test_further_names_filter_as_in_the_sdk(query: str, expected: str) -> None:
    """Compared as a whole, in any case."""
    for pair in query.split("&"):
        may_change = scrub.is_suspicious(f"http://h/&{pair}&", FURTHER)
        assert may_change or scrub.query(pair, FURTHER) == pair
    assert page("", query, f"http://h/?{query}", FURTHER) == (
        "",
        expected,
        f"http://h/?{expected}",
    )
    assert scrub.query(query) == query


@settings(max_examples=many(1000), deadline=None, database=None)
@given(
    denied=st.lists(
        st.sampled_from(["Session", "x-key", "my key", "SCHLÜSSEL", "a.b", "\u017f", "İ"])
    ),
    name=st.sampled_from(["session", "SESSION", "sessions", "X-Key", "My Key", "schlüssel", "A.B"])
    | st.sampled_from(["s", "S", "\u017f", "i", "İ", "page"]),
)
def test_further_names_are_those_that_the_sdk_filters(denied: list[str], name: str) -> None:
    scrubber = EventScrubber(denylist=denied)
    fields = {name: "x"}
    scrubber.scrub_dict(fields)
    filtered = fields[name] != "x"
    query = scrub.query(urlencode({name: "x"}), frozenset(scrubber.denylist))
    assert query.endswith("=[Filtered]" if filtered else "=x")


# URLs


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u:p@h/a", "https://h/a"),
        ("https://u@h", "https://h"),
        ("https://:p@h:8000/@", "https://h:8000/@"),
        ("https://u:p@q@h/", "https://h/"),
        ("HTTP:u:p@h", "HTTP:h"),
        ("http:/\\u:p@h", "http:/\\h"),
        ("//u:p@h/x", "//h/x"),
        ("mongodb://u:p@h?x=a@b", "mongodb://h?x=a@b"),
        (" https://u:p@h", " https://h"),
        ("https://h/u:p@x", "https://h/u:p@x"),
        ("https://h?u:p@x", "https://h?u:p@x"),
        ("mailto:u@h", "mailto:u@h"),
        ("/users/@jo", "/users/@jo"),
        ("", ""),
    ],
)
def test_user_name_and_password_leave_each_url(url: str, expected: str) -> None:
    assert scrub.without_user(url) == expected
    assert page(url, "", url) == (expected, "", expected)


def relay_header(value: str) -> str:
    request = {"headers": [["Referer", value]]}
    found: str = plugin.stripped({"type": "error", "request": request})["request"]["headers"][0][1]
    return found


addresses = st.tuples(st.sampled_from(["https://h/", "", "android-app://x/", "/"]), texts).map(
    lambda parts: parts[0] + re.sub("[?#]", "", parts[1])
)


@settings(max_examples=many(3000), deadline=None, database=None)
@given(address=addresses, parameters=pairs)
def test_a_referrers_parameters_are_filtered_one_by_one(
    address: str, parameters: list[tuple[str, str]]
) -> None:
    """As those of the request. What stands before them is filtered as in Relay."""
    assume(address != FILTERED)
    _, _, referrer = page("", "", f"{address}?{urlencode(parameters)}")
    expected = relay_header(scrub.without_user(address))
    if expected == FILTERED:
        assert referrer == FILTERED
        return
    before, _, search = referrer.partition("?")
    assert before == expected
    names, values = [name for name, _ in parameters], [value for _, value in parameters]
    left = relay_values(values, names) if parameters else []
    assert parse_qsl(search, keep_blank_values=True) == list(zip(names, left, strict=True))


@pytest.mark.parametrize(
    ("referrer", "expected"),
    [
        ("https://shop.example/cart?step=2#total", "https://shop.example/cart?step=2#total"),
        ("https://h/?page=1&token=2", "https://h/?page=1&token=[Filtered]"),
        ("https://u:p@h/#access_token=1", "https://h/"),
        ("https://h/?a=1#b=2", "https://h/?a=1"),
        ("https://h/#4111111111111111", "https://h/"),
        ("https://h/reset-password/abc?page=1", FILTERED),
        ("https://h/4111111111111111/x?page=1", "https://h/[Filtered]/x?page=1"),
        ("https://h/https://u:p@g/?page=1", "https://h/https://u:[Filtered]@g/?page=1"),
        ("Bearer abc", FILTERED),
        ("https://h/%123-45-6789", "https://h/%[Filtered]"),  # a header isn't decoded
        ("", ""),
    ],
)
def test_referrers(referrer: str, expected: str) -> None:
    assert page("", "", referrer) == ("", "", expected)
    assert scrub.is_suspicious(f"&&{referrer}") or referrer == expected


@settings(max_examples=many(2000), deadline=None, database=None)
@given(query=pairs.flatmap(encoded), search=pairs.flatmap(encoded), at=st.booleans())
def test_the_cheap_check_of_a_page_lets_nothing_through(query: str, search: str, at: bool) -> None:
    """What is decided of a page as a whole is what is decided of each of its texts."""
    url = "https://u:p@h/" if at else "https://h/"
    texts = (url, query, f"{url}?{search}")
    name = unquote_plus(query.partition("=")[0]).lower()
    for further in (frozenset[str](), frozenset({name, "page"})):
        is_suspicious = scrub.is_suspicious("&".join(texts), further)
        assert is_suspicious or page(*texts, further) == texts
