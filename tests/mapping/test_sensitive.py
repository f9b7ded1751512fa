"""What is filtered in a text, by name and by shape: as in Relay, which is asked each time."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaks import FILTERED, PEM, relay_values, texts
from sentry_segment.mapping import sensitive
from support import many

lists_of_texts = st.lists(texts, min_size=20, max_size=20)


@settings(max_examples=many(2000), deadline=None, database=None)
@given(values=lists_of_texts)
def test_a_value_is_filtered_as_by_relay(values: list[str]) -> None:
    assert [sensitive.value(value) for value in values] == relay_values(values)


@settings(max_examples=many(500), deadline=None, database=None)
@given(names=lists_of_texts)
def test_a_name_has_its_value_filtered_as_by_relay(names: list[str]) -> None:
    left = relay_values(["x"] * len(names), names)
    assert [sensitive.is_name(name) for name in names] == [value == FILTERED for value in left]


@settings(max_examples=many(300), deadline=None, database=None)
@given(values=st.lists(st.text(), min_size=20, max_size=20))
def test_any_text_is_filtered_as_by_relay(values: list[str]) -> None:
    values = [value.encode("utf-8", "replace").decode() for value in values]
    assert [sensitive.value(value) for value in values] == relay_values(values)


AROUND = [chr(code) for code in range(0x600)] + list("\u1680\u180e\u2000\u2028\u203f\u2040\u3000")


SECRETS = ["4111111111111111", "DE89370400440532013000", "078-05-1120", "Bearer x", "h://u:p@h"]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_may_stand_beside_a_secret_is_as_in_relay(secret: str) -> None:
    for form in ("{0}{1}", "{1}{0}", "a{0}{1}{0}b", "{1}{0}{1}"):
        values = [form.format(character, secret) for character in AROUND]
        assert [sensitive.value(value) for value in values] == relay_values(values)


@pytest.mark.parametrize("secret", [*SECRETS, PEM, "token=", "api_key"])
def test_what_may_stand_within_a_secret_is_as_in_relay(secret: str) -> None:
    for index in range(1, len(secret)):
        values = [secret[:index] + character + secret[index:] for character in AROUND[:0x100]]
        assert [sensitive.value(value) for value in values] == relay_values(values)


@pytest.mark.parametrize("word", ["api_key", "token", "password", "otp", "mysql_pwd"])
def test_what_may_stand_within_a_name_is_as_in_relay(word: str) -> None:
    for index in range(len(word) + 1):
        names = [word[:index] + character + word[index:] for character in AROUND]
        left = relay_values(["x"] * len(names), names)
        assert [sensitive.is_name(name) for name in names] == [value == FILTERED for value in left]


@pytest.mark.parametrize("first", string.ascii_uppercase)
def test_account_numbers_are_those_of_relays_countries(first: str) -> None:
    numbers = ["37040044053", "3704004405320130001234567890a", "3704004405", "3" * 30]
    values = [f"{first}{letter}89{n}" for letter in string.ascii_uppercase for n in numbers]
    assert [sensitive.value(value) for value in values] == relay_values(values)


@pytest.mark.parametrize("length", range(12, 20))
def test_card_numbers_are_those_of_relays_issuers(length: int) -> None:
    """Relay takes any check digit."""
    values = [f"{first:04d}".ljust(length, "7") for first in range(10000)]
    assert [sensitive.value(value) for value in values] == relay_values(values)
