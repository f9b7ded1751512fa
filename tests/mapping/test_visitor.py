"""The anonymous id among cookies: in each form in which it is written, and never another thing."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentry_segment import anonymous_id_from
from sentry_segment.mapping.visitor import anonymous_id_of, is_anonymous_id
from support import many

ID = "8b1c7a1e-52d1-4a0b-9f6c-0d6f6a3f2c11"
COOKIE = "ajs_anonymous_id"

WRITTEN = [ID, quote(f'"{ID}"'), f'"{ID}"', quote(ID), f"%22{ID}%22", f" {ID} "]
"""As analytics.js has written it, from the first version on."""

NO_IDS: list[Any] = [
    *("", " ", "null", "undefined", '"null"', '""', "%22%22", "[Filtered]", "a" * 256),
    *(
        "%E9",
        "%FF",
        "\udcff",
        "a\0b",
        "a\nb",
        '"',
        '"a',
        'a"b',
        '{"a":1}x"',
        "%22a",
        "a" * 1_000_000,
    ),
    *("%22" * 300_000, None, 5, True, b"bytes", ["a"], {"a": 1}),
]


class Broken(dict[str, str]):
    def get(self, *given: object) -> Any:
        raise RuntimeError("no cookies today")


@pytest.mark.parametrize("written", WRITTEN)
def test_each_form_is_read_wherever_cookies_are(written: str) -> None:
    others = {"ajs_user_id": "1906", "x_ajs_anonymous_id": "other"}
    assert anonymous_id_from({**others, COOKIE: written}) == ID
    assert anonymous_id_from([["a", "b"], [COOKIE, written]]) == ID
    assert anonymous_id_from([("a", "b"), (COOKIE, written)]) == ID
    assert anonymous_id_from(f"a=b; x_{COOKIE}=other; {COOKIE}={written}; c=d") == ID
    for request in (
        {"cookies": {**others, COOKIE: written}},
        {"cookies": [["a", "b"], [COOKIE, written]]},
        {"headers": {"Cookie": f"a=b; {COOKIE}={written}"}},
        {"headers": {"cookie": f"{COOKIE}={written};a=b"}},
        {"headers": [["COOKIE", f"{COOKIE}={written}"]]},
        {"cookies": {"a": "b"}, "headers": {"cookie": f"{COOKIE}={written}"}},
    ):
        assert anonymous_id_of(request) == ID


def test_python_reads_the_form_in_quotes_itself() -> None:
    cookies = SimpleCookie(f'{COOKIE}="{ID}"')
    assert anonymous_id_from({name: each.value for name, each in cookies.items()}) == ID


@pytest.mark.parametrize("value", NO_IDS)
def test_what_is_no_id_is_none(value: Any) -> None:
    assert anonymous_id_from({COOKIE: value}) is None
    assert anonymous_id_from([[COOKIE, value]]) is None
    assert anonymous_id_of({"cookies": {COOKIE: value}}) is None
    if isinstance(value, str):
        assert anonymous_id_from(f"{COOKIE}={value}") is None


@pytest.mark.parametrize(
    "cookies", [None, 5, b"", "", [], {}, [5], [[COOKIE]], Broken(), object(), {COOKIE.upper(): ID}]
)
def test_cookies_without_the_cookie_have_no_id(cookies: Any) -> None:
    assert anonymous_id_from(cookies) is None
    assert anonymous_id_of({"cookies": cookies}) is None
    assert anonymous_id_of(cookies) is None


@settings(max_examples=many(500), deadline=None, database=None)
@given(st.text(min_size=1, max_size=255).filter(is_anonymous_id).filter(lambda t: t == t.strip()))
def test_any_id_is_read_as_it_was_written(anonymous_id: str) -> None:
    for text in (
        anonymous_id,
        json.dumps(anonymous_id),
        json.dumps(anonymous_id, ensure_ascii=False),
    ):
        assert anonymous_id_from({COOKIE: quote(text, safe="")}) == anonymous_id


@settings(max_examples=many(500), deadline=None, database=None)
@given(st.text() | st.from_regex(r'("|%22)?[\x20-\x7e]{0,40}("|%22|%)?', fullmatch=True))
def test_no_cookie_raises_and_what_is_read_is_an_id(value: str) -> None:
    for found in (anonymous_id_from({COOKIE: value}), anonymous_id_from(f"{COOKIE}={value}")):
        assert found is None or is_anonymous_id(found)
