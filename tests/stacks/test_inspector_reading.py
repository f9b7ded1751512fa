"""What people read and do on the inspector's page: errors, origins, filters, its address, files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from playwright.sync_api import Locator, Page, expect

from inspectors import NOW, Poster, envelope, event, message
from sentry_segment import SegmentIntegration
from sentry_segment.inspector.server import Inspector
from stacks.browsers import Open
from support import WRITE_KEY

expect.set_options(timeout=30_000)


def rows(page: Page) -> Locator:
    return page.get_by_role("option")


def details(page: Page) -> Locator:
    return page.locator("#details")


def chip(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def frame(function: str, **more: Any) -> dict[str, Any]:
    return {"function": function, "module": "shop.cart", "lineno": 12, **more}


def chained() -> dict[str, Any]:
    """An event with a cause, frames and breadcrumbs."""
    source = {"pre_context": ["a"], "context_line": "    rates[card]", "post_context": ["b"]}
    frames = [
        frame("handle", **source, module="framework"),
        frame("price", **source, in_app=True, vars={"card": "'eur'"}),
    ]
    values = [
        {"type": "KeyError", "value": "'eur'", "stacktrace": {"frames": frames}},
        {"type": "RuntimeError", "value": "no rate"},
    ]
    crumbs = [
        {"timestamp": 1700000000, "category": "cart", "message": "added", "data": {"pieces": 2}},
        {"timestamp": "2024-03-01T12:00:00Z", "category": "http", "level": "error"},
    ]
    return event(exception={"values": values}, breadcrumbs={"values": crumbs})


# An error


def test_an_error_is_read_with_its_frames_its_cause_and_its_breadcrumbs(
    app: Poster, open_page: Open
) -> None:
    page = open_page()
    app.sentry(envelope(chained()))
    rows(page).click()
    shown = details(page).locator(".exception")
    expect(shown.locator("h3")).to_have_text(["RuntimeError", "caused by KeyError"])
    frames = shown.nth(1).locator(".frames > li")
    expect(frames.locator("> details > summary")).to_have_text(
        ["price in shop.cart, line 12", "handle in framework, line 12"]
    )
    own, foreign = frames.nth(0), frames.nth(1)
    expect(own.locator("pre")).to_be_visible()
    expect(own.locator(".here")).to_have_attribute("data-number", "12")
    expect(own.locator(".here")).to_have_text("    rates[card]\n")
    expect(foreign.locator("pre")).to_be_hidden()
    foreign.locator("summary").click()
    expect(foreign.locator("pre")).to_be_visible()
    own.get_by_text("Variables").click()
    expect(own.locator("dd")).to_have_text("'eur'")
    expect(details(page).locator(".breadcrumbs li")).to_have_text(
        ['22:13:20.000cartadded {"pieces":2}', "12:00:00.000http"]
    )


@pytest.mark.parametrize(
    "odd",
    [
        {"exception": [{"type": "KeyError"}], "breadcrumbs": [7, None, {}]},
        {"exception": {"values": [{"stacktrace": {"frames": [None, {}, {"vars": {"a": [1]}}]}}]}},
        {"exception": {"type": 4, "stacktrace": {"frames": "none"}}, "breadcrumbs": "none"},
    ],
    ids=range(3),
)
def test_an_odd_event_is_read_as_far_as_it_goes(
    app: Poster, open_page: Open, odd: dict[str, Any]
) -> None:
    page = open_page()
    app.sentry(envelope(event(**odd)))
    rows(page).click()
    expect(details(page).locator(".side").nth(1)).to_contain_text('"event_id"')


def test_each_field_says_where_it_came_from_and_what_became_of_it(
    inspector: Inspector, open_page: Open
) -> None:
    integration = SegmentIntegration(write_key=WRITE_KEY, host=inspector.url)
    sentry_sdk.init(dsn=inspector.dsn, integrations=[integration])
    request: dict[str, object] = {
        "url": "https://shop.example/",
        "query_string": "password=hunter2",
        "method": "get",
    }
    sentry_sdk.capture_event(
        {"exception": {"values": [{"type": "KeyError"}]}, "user": {"id": 7}, "request": request}
    )
    sentry_sdk.flush(timeout=30.0)
    assert inspector.store.wait_for(lambda: len(inspector.store.records) == 2)
    page = open_page()
    rows(page).click()
    table = details(page).locator(".origins table")
    for name, came in {
        "context.page.search": "request.query_stringfiltered: Sentry's servers would, too",
        "context.page.method": "request.methodnormalised, as Sentry's servers do",
        "properties.exceptionType": "exception.values[0].type",
        "event": "the option event_name",
    }.items():
        row = table.locator("tr").filter(has=page.get_by_role("rowheader", name=name, exact=True))
        expect(row.locator("td").nth(1)).to_contain_text(came)


def test_objections_have_three_ranks_and_a_dropped_message_no_green_badge(
    app: Poster, open_page: Open
) -> None:
    page = open_page()
    app.segment(message(messageId="a", userId=None, anonymousId=7, event="", timestamp="x"))
    app.segment({"messageId": "b", "userId": "1", "event": "filled in", "sentAt": NOW})
    expect(rows(page)).to_have_count(2)
    expect(rows(page).nth(0).locator(".badge")).to_have_text(["Segment"])
    expect(rows(page).nth(1).locator(".badge")).to_have_text(
        ["dropped by Segment", "changed by Segment", "advice"]
    )
    rows(page).nth(1).click()
    expect(details(page).locator(".objections h3")).to_have_text(
        ["Segment drops it", "Segment changes it", "Advice"]
    )


# Search, filters, repeats


def test_fields_can_be_searched_and_filters_leave_what_they_say(
    app: Poster, open_page: Open
) -> None:
    page = open_page()
    app.sentry(envelope(event(event_id="a" * 32, user={}, release="shop@1")))
    app.sentry(envelope(event(event_id="b" * 32, user={"id": "Jane Doe"})))
    app.segment(message(messageId="b" * 32, userId="Jane Doe", sentAt=NOW))
    app.segment(message(messageId="c", userId=None, anonymousId="visitor", sentAt=NOW))
    app.segment(message(messageId="d", userId="19", event="x", properties={}, timestamp="x"))
    expect(rows(page)).to_have_count(4)
    search = page.get_by_role("searchbox")
    for words, found in {
        "user:jane": 1,
        'user:"jane doe"': 1,
        'user:"jane"': 0,
        "type:keyerror": 3,
        "type:keyerror user:visitor": 1,
        "transaction:/check": 2,
        "release:shop@1": 1,
        "keyerror": 3,
        "http://x": 0,
    }.items():
        search.fill(words)
        expect(rows(page)).to_have_count(found)
    search.fill("")
    for name, found in {
        "Not mirrored": 1,
        "Objections": 1,
        "One side alone": 3,
        "Anonymous": 2,
    }.items():
        chip(page, name).click()
        expect(chip(page, name)).to_have_attribute("aria-pressed", "true")
        expect(rows(page)).to_have_count(found)
        chip(page, name).click()
    chip(page, "Not mirrored").click()
    chip(page, "Objections").click()
    expect(page.get_by_text("No row holds all of these words and passes")).to_be_visible()


def test_repeats_are_one_row_with_their_number(app: Poster, open_page: Open) -> None:
    page = open_page()
    app.batch(*(message(messageId=f"id-{number}") for number in range(30)))
    app.batch(message(messageId="other", userId="2"))
    expect(rows(page).locator(".times")).to_have_text(["", "\u00d730"])
    expect(page.locator("#counts")).to_have_text("31 rows, 2 without repeats")
    rows(page).nth(1).click()
    shown = details(page).locator(".identity code")
    expect(shown).to_have_text("id-29")
    expect(details(page)).to_contain_text("The newest of 30 alike")
    details(page).get_by_role("button", name="Older").click()
    expect(shown).to_have_text("id-28")
    expect(details(page)).to_contain_text("2 of 30 alike")
    app.batch(message(messageId="id-30"))
    expect(details(page)).to_contain_text("3 of 31 alike")
    expect(shown).to_have_text("id-28")
    chip(page, "Group repeats").click()
    expect(page.locator("#counts")).to_have_text("32 rows")
    expect(rows(page).locator(".times").first).to_have_text("")


# The page's address, its title


def test_a_reload_keeps_search_filters_and_the_open_row(app: Poster, open_page: Open) -> None:
    page = open_page()
    app.batch(*(message(messageId=f"id-{number}", userId=str(number)) for number in range(3)))
    page.get_by_role("searchbox").fill('user:"1"')
    chip(page, "One side alone").click()
    chip(page, "Group repeats").click()
    rows(page).click()
    expect(details(page)).to_contain_text("id-1")
    for _ in range(2):
        expect(page.get_by_role("searchbox")).to_have_value(re.compile('user:"1"'))
        expect(chip(page, "One side alone")).to_have_attribute("aria-pressed", "true")
        expect(chip(page, "Group repeats")).to_have_attribute("aria-pressed", "false")
        expect(rows(page)).to_have_count(1)
        expect(details(page).locator(".identity code")).to_have_text("id-1")
        page.reload()
    page.keyboard.press("Escape")
    expect(details(page)).to_be_hidden()
    page.reload()
    expect(rows(page)).to_have_count(1)
    expect(details(page)).to_be_hidden()


def test_on_a_phone_back_closes_the_details(app: Poster, open_page: Open) -> None:
    page = open_page(390, 740, has_touch=True, is_mobile=True)
    app.batch(message())
    rows(page).tap()
    expect(details(page)).to_be_visible()
    page.go_back()
    expect(details(page)).to_be_hidden()
    expect(rows(page)).to_be_visible()
    page.go_forward()
    expect(details(page)).to_be_visible()
    details(page).get_by_role("button", name="Close").tap()
    expect(details(page)).to_be_hidden()
    expect(page).not_to_have_url(re.compile("open="))


def test_the_title_counts_what_came_while_nobody_looked(app: Poster, open_page: Open) -> None:
    page = open_page()
    hide = """(value) => {
        Object.defineProperty(document, "hidden", {value, configurable: true});
        document.dispatchEvent(new Event("visibilitychange")); }"""
    app.batch(message())
    expect(rows(page)).to_have_count(1)
    page.evaluate(hide, True)
    app.batch(message(messageId="a"), message(messageId="b"))
    expect(page).to_have_title("(2) Inspector")
    page.evaluate(hide, False)
    expect(page).to_have_title("Inspector")


def test_all_times_of_the_page_are_in_one_zone_which_it_says(app: Poster, open_page: Open) -> None:
    page = open_page(timezone_id="Asia/Kolkata")
    app.segment(message())
    arrived = rows(page).locator("time")
    at = str(arrived.get_attribute("datetime"))
    expect(arrived).to_have_text(at[11:19])
    expect(page.locator("#zone")).to_have_text("All times are in UTC.")


# Copies and files


def test_a_message_is_copied_as_a_command_and_as_a_test(
    app: Poster, inspector: Inspector, open_page: Open
) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    app.segment(message(properties={"exceptionType": "KeyError", "note": "it's"}))
    rows(page).click()
    copied = []
    for kind in ("curl", "test"):
        button = details(page).get_by_role("button", name=f"Copy as {kind}")
        button.click()
        expect(details(page).get_by_role("button", name="Copied").first).to_be_visible()
        expect(button).to_be_visible()
        copied.append(page.evaluate("navigator.clipboard.readText()"))
    command, test = copied
    assert command.startswith(
        f"curl -u inspector: -H 'Content-Type: application/json' {inspector.url}"
    )
    assert "it'\\''s" in command
    names: dict[str, Any] = {}
    exec(test, names)
    names["test_keyerror_is_mirrored"]([message()])
    with pytest.raises(AssertionError):
        names["test_keyerror_is_mirrored"]([message(userId="2")])


def test_what_has_arrived_is_exported_and_imported(
    app: Poster, inspector: Inspector, open_page: Open, tmp_path: Path
) -> None:
    page = open_page()
    app.sentry(envelope(chained()))
    app.segment(message(sentAt=NOW))
    expect(rows(page)).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    file = tmp_path / "inspector.json"
    download.value.save_as(file)
    assert len(json.loads(file.read_text())["records"]) == 2
    page.get_by_role("button", name="Clear").click()
    expect(rows(page)).to_have_count(0)
    page.locator("#file").set_input_files(file)
    expect(page.get_by_role("button", name="Imported 2 records")).to_be_visible()
    expect(rows(page).locator(".badge")).to_have_text(["Sentry", "Segment"])
    file.write_text("{}")
    page.locator("#file").set_input_files(file)
    expect(page.get_by_role("button", name="Not imported: it was not exported")).to_be_visible()


# Many

ACT = """async (act) => {
    const begun = performance.now();
    new Function(act)();
    await new Promise((done) =>
        requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))));
    return performance.now() - begun;
}"""
SEARCH = "const s = document.querySelector('#search'); s.focus(); s.value = '{}';"
DISPATCH = "s.dispatchEvent(new Event('input'));"


def test_with_10000_messages_no_more_rows_are_drawn_than_with_ten(
    app: Poster, open_page: Open, record_property: Any
) -> None:
    """How long an open, a search and a scroll take is noted with the results, and printed."""
    page = open_page()
    for start in range(0, 10_000, 2_500):
        batch = range(start, start + 2_500)
        app.batch(*(message(messageId=f"m{n}.", userId=f"u{n}") for n in batch))
    expect(page.locator("#counts")).to_have_text("10,000 rows")
    for name, act in {
        "scroll": "document.querySelector('#list').scrollTop += 20000",
        "open": "document.querySelector('[role=option]').click()",
        "search": SEARCH.format("m77") + DISPATCH,
        "field": SEARCH.format('user:"u7777"') + DISPATCH,
    }.items():
        took = page.evaluate(ACT, act)
        record_property(f"{name}_ms", round(took))
        print(f"{name} at 10,000 messages: {took:.0f} ms")
        assert page.evaluate("document.querySelectorAll('*').length") < 1_500
    expect(rows(page)).to_have_count(1)
