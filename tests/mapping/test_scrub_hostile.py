"""Hostile texts: scrubbing takes no more than its share of steps, and no endless time."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from urllib.parse import unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaks import FILTERED, FURTHER, page
from sentry_segment.mapping import scrub, sensitive
from steps import Steps, growth
from support import many, some

EXPRESSIONS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in (sensitive, scrub)
    for name, value in vars(module).items()
    if isinstance(value, re.Pattern)
}


ANCHORED = {"scrub._BEFORE_AUTHORITY", "sensitive._BEFORE_KEY"}
"""These are tried at one place of a text."""


CONSUMING = {"sensitive._TOKEN", "sensitive._PEM_BEGIN", "sensitive._PEM_END"}
"""Of these the next match is looked for behind the last one. Of the others one may be refused, and
the next is looked for one character on."""


HOSTILE = [
    *("token", "token ", "bearer", "bearer ", "bearer\t \n", "é" + "bearer x", "api_", "private_"),
    *(
        "4",
        "4-",
        "4111 ",
        "4111111111111111",
        "411111111111111x",
        "37",
        "378 ",
        "1",
        "07-",
        "078-05-",
    ),
    *(
        "DE",
        "DE89",
        "DE89" + "a" * 29,
        "DE893704004405320130",
        "A",
        "Z9",
        " ",
        "\t",
        "a",
        "a ",
        "-",
    ),
    *("-----BEGIN", "-----BEGIN A", "-----BEGIN PRIVATE KEY", "-----BEGIN PRIVATE KEY-----"),
    *("-----END", "-----END PRIVATE KEY-----", "-----", "PRIVATE KEY-----", "\r", "\n", "\r\n"),
    *("a://", "a://b:", "a://b:c", "//b:c", "a//", "//", ":", "@", "a://b:c@", "/", "\\", "http:"),
    *("%", "%2", "&", "=", "a=&", "a=1&", "+", "#", "é", "字", "\0", "a:", "a.", "password", "otp"),
]


@pytest.mark.parametrize(
    ("bad", "piece"), [("token[^ ]*[:=]", "token"), (" *x", " "), ("^a*a*x", "a"), ("a+b", "a")]
)
def test_steps_show_what_takes_more_than_its_share(bad: str, piece: str) -> None:
    searches = [Steps(re.compile(bad), (piece * n)[:n]) for n in (50, 100, 200)]
    for each in searches:
        each.search()
    assert growth([each.taken for each in searches]) > 3


@some
@pytest.mark.parametrize("name", sorted(EXPRESSIONS))
def test_no_expression_takes_more_than_its_share_of_steps(name: str) -> None:
    """With twice the text, twice the steps: not four times as many."""
    pattern = EXPRESSIONS[name]
    for piece in HOSTILE:
        taken = []
        for length in (100, 200, 400):
            text = (piece * length)[:length]
            steps = Steps(pattern, text)
            if name in ANCHORED:
                found = steps.match()
                assert found == [m.span() for m in [pattern.match(text)] if m]
            elif name in CONSUMING:
                found = steps.search()
                assert found == [m.span() for m in pattern.finditer(text)]
            else:
                steps.search(from_next=True)
            taken.append(steps.taken)
        assert growth(taken) < 2.5, (piece, taken)


def calls(function: Callable[[], object]) -> int:
    """How many functions are called, Python's and C's."""
    count = 0

    def on_event(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_takes_more_than_its_share_of_calls(piece: str) -> None:
    taken = []
    for length in (4000, 8000, 16000):
        text = (piece * length)[:length]
        taken.append(calls(lambda text=text: page(text, text, text, FURTHER)))  # type: ignore[misc]
    assert growth(taken) < 2.5


def test_of_a_very_long_query_string_whole_parameters_are_left_out() -> None:
    pair = f"a={'b' * 50}+4111111111111111"
    filtered = f"a={'b' * 50}+{FILTERED}"
    kept = 40_000 // len(f"{pair}&")
    assert scrub.query("&".join([pair] * 10_000)).split("&") == [filtered] * kept
    assert scrub.query("a=" + "b" * 50_000 + " 4111111111111111") == ""
    assert scrub.query("a=" + "b" * 50_000) == "a=" + "b" * 50_000  # to be cut to its room
    address = "https://shop.example/"
    long_referrer = f"{address}?{pair}&c={'d' * 50_000}#e"
    assert scrub.referrer(long_referrer) == f"{address}?{filtered}#e"
    assert scrub.referrer(f"{address}#{'4111111111111111 ' * 5_000}") == address
    assert scrub.referrer(f"{address}{'a' * 50_000}/4111111111111111") == ""
    assert scrub.referrer(address + "a" * 50_000) == address + "a" * 50_000


def test_of_endless_texts_nothing_is_sent_unread() -> None:
    """Not even what looks harmless: who knows what it ends in."""
    assert scrub.query("a=" + "b" * 500_000) == ""
    assert scrub.query("c=1&a=" + "b" * 500_000) == "c=1"
    assert scrub.referrer("https://shop.example/" + "a" * 500_000) == ""
    assert (
        scrub.referrer("https://shop.example/?c=1&a=" + "b" * 500_000)
        == "https://shop.example/?c=1"
    )
    assert scrub.referrer("https://shop.example/#" + "a" * 500_000) == "https://shop.example/"


@pytest.mark.parametrize("length", [19_000, 39_000, 399_000, 1_000_000])
@pytest.mark.parametrize("piece", ["a", "111x", "a=1&", "12a ", "%", "a%=%&", "#", "?"])
def test_how_much_is_looked_at_is_bounded(
    piece: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []
    may_be_in = sensitive.may_be_in

    def counting(text: str) -> bool:
        looked_at.append(len(text))
        return may_be_in(text)

    monkeypatch.setattr(sensitive, "may_be_in", counting)
    text = (piece * length)[:length]
    for query, referrer in ((text, text), ("a=" + text, "/?a=" + text)):
        looked_at.clear()
        if scrub.is_suspicious(f"&{query}&{referrer}"):
            page("", query, referrer)
        assert sum(looked_at) < 3 * 400_000


def test_parameters_behind_the_first_thousand_are_left_out() -> None:
    pairs = [f"a{number}=1" for number in range(1_100)]
    assert scrub.query("&".join(pairs[:1_000])) == "&".join(pairs[:1_000])
    assert scrub.query("&".join(pairs)) == "&".join(pairs[:1_000])
    assert scrub.referrer(f"/?{'&'.join(pairs)}") == f"/?{'&'.join(pairs[:1_000])}"


@pytest.mark.parametrize("piece", HOSTILE)
def test_what_a_text_takes_is_bounded(piece: str) -> None:
    """However long it is: messages of very long events are made in the capturing thread."""
    taken = [
        calls(lambda text=piece * times: page(text, text, text, FURTHER))  # type: ignore[misc]
        for times in (50_000, 200_000)
    ]
    assert taken[1] <= 1.1 * taken[0]


@settings(max_examples=many(2000), deadline=None, database=None)
@given(st.lists(st.sampled_from(["%", "%4", "%C3", "%a9", "%E2%82", "\xe9", "+", "a"])))
def test_percent_encoding_is_read_as_python_reads_it(pieces: list[str]) -> None:
    name = "q" + "".join(pieces)
    read = unquote_plus(name).lower()
    assert scrub.query(f"{name}=1", {read}) == f"{name}={FILTERED}"
    assert scrub.query(f"{name}=1", {f"{read}x"}) == f"{name}=1"
