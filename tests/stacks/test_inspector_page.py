"""The inspector's page, in a headless Chromium."""

from __future__ import annotations

import json
import re
from typing import Any

import sentry_sdk
from playwright.sync_api import Browser, expect

from inspectors import NOW, Poster, envelope, event, message
from sentry_segment import SegmentIntegration
from sentry_segment.inspector.server import Inspector
from stacks.browsers import Open, pages
from stacks.page_parts import details, post, rows, status, users
from support import WRITE_KEY, capture

expect.set_options(timeout=30_000)


# What arrives


def test_messages_appear_without_a_reload_the_newest_first(app: Poster, open_page: Open) -> None:
    page = open_page()
    page.evaluate("window.untouched = true")
    expect(page.get_by_text("Nothing has arrived yet")).to_be_visible()
    post(app, "1")
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_text("Nothing has arrived yet")).to_be_hidden()
    post(app, "2", "3")
    expect(rows(page)).to_have_count(3)
    assert users(page) == ["3", "2", "1"]
    assert page.evaluate("window.untouched") is True


def test_an_empty_page_says_how_to_point_an_application_at_it(
    inspector: Inspector, open_page: Open
) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    code = page.evaluate("navigator.clipboard.readText()")
    given: dict[str, Any] = {}
    names = {"sentry_sdk": type("SDK", (), {"init": lambda **options: given.update(options)})}
    exec(code, {**names, "SegmentIntegration": lambda **options: options})
    assert given["dsn"] == inspector.dsn
    assert given["integrations"] == [{"write_key": "inspector", "host": inspector.url}]


def test_both_sides_of_an_error_are_one_row(inspector: Inspector, open_page: Open) -> None:
    integration = SegmentIntegration(write_key=WRITE_KEY, host=inspector.url)
    sentry_sdk.init(dsn=inspector.dsn, integrations=[integration], release="shop@1.4.2")
    event_id = capture(KeyError("address"), id="1906")
    capture(ValueError("of a guest"), user={"email": "guest@example.org"})
    sentry_sdk.capture_message("Half past nine")
    sentry_sdk.flush()
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    expect(rows(page)).to_have_count(3)
    error = rows(page).filter(has_text="KeyError")
    expect(error.locator(".badge")).to_have_text(["Sentry", "Segment"])
    expect(error).to_contain_text("'address'")
    expect(error).to_contain_text("user 1906")
    expect(rows(page).filter(has_text="guest").locator(".badge")).to_have_text(
        ["Sentry", "no user id"]
    )
    expect(rows(page).filter(has_text="Half past").locator(".badge")).to_have_text(
        ["Sentry", "no exception"]
    )
    error.click()
    sides = details(page).locator(".side")
    expect(sides.nth(0)).to_contain_text('"messageId"')
    expect(sides.nth(1)).to_contain_text('"event_id"')
    expect(details(page).locator(".identity code")).to_have_text(event_id)
    details(page).get_by_role("button", name="Copy id").click()
    expect(details(page).get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == event_id
    details(page).get_by_role("button", name="Copy JSON").first.click()
    expect(details(page).get_by_role("button", name="Copied").nth(1)).to_be_visible()
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))["messageId"] == event_id


def test_the_other_side_joins_a_row_that_is_open(app: Poster, open_page: Open) -> None:
    page = open_page()
    app.sentry(envelope(event()))
    expect(rows(page).locator(".badge")).to_have_text(["Sentry", "not at Segment yet"])
    rows(page).click()
    expect(details(page)).to_contain_text("Nothing has arrived at Segment under this id.")
    app.segment(message(sentAt=NOW))
    expect(rows(page).locator(".badge")).to_have_text(["Sentry", "Segment"])
    expect(details(page)).to_contain_text('"messageId"')
    app.segment(message(sentAt=NOW))
    expect(rows(page).locator(".badge")).to_have_text(["Sentry", "Segment", "repeat dropped"])
    expect(details(page)).to_contain_text("The last of 2 messages with this id.")


def test_what_segment_would_object_to_is_said_in_words(app: Poster, open_page: Open) -> None:
    page = open_page()
    app.segment(message(userId=None, sentAt=NOW))
    app.segment(b"{")
    expect(rows(page)).to_have_count(2)
    expect(rows(page).locator(".badge")).to_have_text(["refused 400", "dropped by Segment"])
    rows(page).filter(has_text="KeyError").click()
    expect(details(page)).to_contain_text("neither userId nor anonymousId")
    rows(page).filter(has_text="refused").click()
    expect(details(page).locator(".objections h3")).to_have_text("Refused")
    expect(details(page)).to_contain_text("the body is no JSON object")
    expect(details(page)).to_contain_text("Its body was not kept.")


def test_json_is_shown_as_it_was_sent_and_can_be_folded(app: Poster, open_page: Open) -> None:
    page = open_page()
    content: dict[str, Any] = {
        "id": 2**64 + 1,
        "price": 1.0,
        "none": None,
        "list": [],
        "dict": {"a": [True, "x"]},
    }
    app.segment(message(properties=content, sentAt=NOW))
    rows(page).click()
    tree = details(page).locator(".json")
    for shown in ("18446744073709551617", '"price": 1.0', '"none": null', '"list": []', '"x"'):
        expect(tree).to_contain_text(shown)
    summary = tree.locator("summary", has_text='"dict"')
    expect(tree.get_by_text("true")).to_be_visible()
    summary.focus()
    page.keyboard.press("Enter")
    expect(tree.get_by_text("true")).to_be_hidden()
    expect(summary).to_contain_text("1 field")
    page.keyboard.press("Enter")
    expect(tree.get_by_text("true")).to_be_visible()


def test_very_long_texts_and_lists_are_shown(app: Poster, open_page: Open) -> None:
    page = open_page()
    app.segment(message(userId="short"))
    app.sentry(envelope(event(event_id="0" * 32, user={"id": "text"}, long="x" * 15_000_000)))
    app.sentry(envelope(event(event_id="1" * 32, user={"id": "list"}, long=[0] * 150_000)))
    expect(rows(page)).to_have_count(3)
    rows(page).filter(has_text="user text").click()
    expect(details(page).locator(".identity")).to_contain_text("0" * 32)
    rows(page).filter(has_text="user list").click()
    expect(details(page).locator(".identity")).to_contain_text("1" * 32)
    details(page).get_by_text("150,000 items").click()
    expect(details(page).locator(".number")).to_have_count(150_000)


def test_errors_over_time_are_plotted_and_said_in_words(app: Poster, open_page: Open) -> None:
    page = open_page()
    app.sentry(
        envelope(event(), event(event_id="1" * 32), event(event_id="2" * 32, exception=None))
    )
    app.segment(message(sentAt=NOW))
    app.segment(message(messageId="refused"), auth=None)
    app.segment(message(messageId="no-error", properties={}))
    plot = page.locator("#plot").get_by_role("img")
    expect(plot).to_have_accessible_name(
        re.compile("2 events at Sentry, 1 message at Segment, at most 2 in a step")
    )
    assert plot.locator("rect").count() >= 2
    expect(page.locator("#counts")).to_contain_text("5 rows")


def test_clearing_empties_the_page(app: Poster, inspector: Inspector, open_page: Open) -> None:
    page = open_page()
    post(app, "1", "2")
    rows(page).first.click()
    page.get_by_role("button", name="Clear").click()
    expect(rows(page)).to_have_count(0)
    expect(details(page)).to_be_hidden()
    expect(page.get_by_text("Nothing has arrived yet")).to_be_visible()
    assert inspector.store.records == []
    post(app, "3")
    expect(rows(page)).to_have_count(1)


# Search and pause


def test_search_looks_into_everything_as_one_types(app: Poster, open_page: Open) -> None:
    page = open_page()
    app.batch(
        message(messageId="a", userId="1", properties={"exceptionType": "TimeoutError"}),
        message(messageId="b", userId="2", properties={"deep": [{"note": "Größe unbekannt"}]}),
        message(messageId="c", userId=None),
    )
    app.sentry(envelope(event(event_id="a" * 32, extra={"cart": "lamp"})))
    expect(rows(page)).to_have_count(4)
    search = page.get_by_role("searchbox")
    for words, found in {
        "timeout": ["user 1"],
        "GRÖSSE": [],
        "GRÖßE": ["user 2"],
        "lamp": ["user 1906 · /checkout"],
        "lamp keyerror": ["user 1906 · /checkout"],
        "lamp timeout": [],
        "neither userid": [""],
        "…cdef": ["", "user 2", "user 1"],
    }.items():
        search.fill(words)
        expect(rows(page).locator(".facts")).to_have_text(found)
    search.fill("no such thing")
    expect(page.get_by_text("No row holds all of these words.")).to_be_visible()
    search.fill("id-72")
    post(app, "72", "30")
    expect(rows(page).filter(has_text="user 72")).to_have_count(1)
    expect(rows(page).filter(has_text="user 30")).to_have_count(0)


def test_a_pause_keeps_the_list_as_it_is_until_it_is_over(app: Poster, open_page: Open) -> None:
    page = open_page()
    post(app, "1")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    post(app, "2", "3")
    resume = page.get_by_role("button", name="Resume (2 new)")
    expect(resume).to_have_attribute("aria-pressed", "true")
    expect(status(page)).to_have_text("Paused, 2 new")
    page.get_by_role("searchbox").fill("user")
    page.get_by_role("searchbox").fill("")
    expect(rows(page)).to_have_count(1)
    resume.click()
    expect(rows(page)).to_have_count(3)
    expect(status(page)).to_have_text("Live")


# Notes how far the stream has come.
LAST = """const Real = EventSource;
window.EventSource = class extends Real {
    constructor(...given) {
        super(...given);
        this.addEventListener("message", (event) => {
            document.documentElement.dataset.last = event.lastEventId.split(":")[1];
        });
    }
};"""


def test_a_pause_holds_no_more_than_the_inspector_keeps(app: Poster, open_page: Open) -> None:
    page = open_page(query="?group=no")
    page.add_init_script(LAST)
    page.reload()
    expect(status(page)).to_have_text("Live")
    page.keyboard.press("p")
    for start in range(0, 15_000, 2_500):
        app.batch(*({"messageId": str(number)} for number in range(start, start + 2_500)))
    expect(page.locator("html")).to_have_attribute("data-last", "15000")
    expect(status(page)).to_have_text(re.compile(r"^Paused, 10,\d{3} new$"))
    page.keyboard.press("p")
    expect(page.locator("#counts")).to_have_text("10,000 rows")


# Many


def test_5000_messages_are_shown_and_the_page_still_answers(app: Poster, open_page: Open) -> None:
    page = open_page(query="?group=no")
    for start in (0, 2_500):
        app.batch(*({"messageId": f"m{number}"} for number in range(start, start + 2_500)))
    expect(page.locator("#counts")).to_have_text("5,000 rows")
    assert rows(page).count() < 60
    search = page.get_by_role("searchbox")
    search.fill("m4321")
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#counts")).to_have_text("1 of 5,000 rows")
    rows(page).click()
    expect(details(page).locator(".identity code")).to_have_text("m4321")
    search.fill("")
    expect(page.locator("#counts")).to_have_text("5,000 rows")
    page.locator("#list").focus()
    page.keyboard.press("End")
    expect(details(page).locator(".identity code")).to_have_text("m0")


def test_the_page_keeps_as_many_as_the_inspector(app: Poster, open_page: Open) -> None:
    page = open_page(query="?group=no")
    for start in range(0, 12_500, 2_500):
        app.batch(*({"messageId": f"m{number}."} for number in range(start, start + 2_500)))
    expect(page.locator("#counts")).to_have_text("10,000 rows")
    page.get_by_role("searchbox").fill("m2499.")
    expect(rows(page)).to_have_count(0)
    page.get_by_role("searchbox").fill("m2500.")
    expect(rows(page)).to_have_count(1)


def test_who_has_scrolled_down_goes_on_seeing_the_same_rows(app: Poster, open_page: Open) -> None:
    page = open_page()
    post(app, *map(str, range(100)))
    expect(page.locator("#counts")).to_have_text("100 rows")
    page.evaluate("document.querySelector('#list').scrollTop = 1000")
    row = rows(page).filter(has_text="user 75")
    expect(row).to_be_visible()
    before = row.bounding_box()
    post(app, "100", "101", "102")
    expect(page.locator("#counts")).to_have_text("103 rows")
    assert row.bounding_box() == before


# The connection


def test_it_reconnects_to_an_inspector_that_was_started_again(browser: Browser) -> None:
    with Inspector() as first, pages(browser, first.url) as open_page:
        page = open_page()
        with Poster(first.url) as app:
            post(app, "1", "2")
        expect(rows(page)).to_have_count(2)
        first.stop()
        expect(status(page)).to_have_text("Not connected, trying again")
        expect(rows(page)).to_have_count(2)
        with Inspector(port=first.port), Poster(first.url) as app:
            post(app, "3")
            expect(status(page)).to_have_text("Live")
            expect(rows(page)).to_have_count(1)
            assert users(page) == ["3"]
            post(app, "4")
            expect(rows(page)).to_have_count(2)


def test_two_pages_are_served_at_once(app: Poster, open_page: Open) -> None:
    first, second = open_page(), open_page()
    post(app, "1")
    for page in (first, second):
        expect(rows(page)).to_have_count(1)
