"""The inspector's page by keyboard, on a phone, in each scheme of colours, and read aloud."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from inspectors import Poster, envelope, event, message
from stacks.browsers import Open
from stacks.page_parts import details, post, rows, status

expect.set_options(timeout=30_000)


def test_everything_can_be_done_by_keyboard(app: Poster, open_page: Open) -> None:
    page = open_page()
    post(app, "1", "2", "3")
    expect(rows(page)).to_have_count(3)
    chosen = page.locator('[role=option][aria-selected="true"]')
    for key, user in (("j", "3"), ("j", "2"), ("ArrowDown", "1"), ("j", "1"), ("k", "2")):
        page.keyboard.press(key)
        expect(chosen).to_contain_text(f"user {user}")
    listbox = page.get_by_role("listbox")
    expect(listbox).to_be_focused()
    expect(listbox).to_have_attribute("aria-activedescendant", str(chosen.get_attribute("id")))
    for key, user in (("Home", "3"), ("End", "1"), ("PageUp", "3"), ("PageDown", "1")):
        page.keyboard.press(key)
        expect(chosen).to_contain_text(f"user {user}")
    page.keyboard.press("Enter")
    expect(details(page)).to_contain_text("id-1")
    page.keyboard.press("k")
    expect(details(page)).to_contain_text("id-2")
    page.keyboard.press("Escape")
    expect(details(page)).to_be_hidden()
    page.keyboard.press("/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_focused()
    page.keyboard.type("user/pj")
    expect(search).to_have_value("user/pj")
    expect(status(page)).to_have_text("Live")
    page.keyboard.press("Escape")
    expect(search).to_have_value("")
    expect(listbox).to_be_focused()
    page.keyboard.press("p")
    expect(status(page)).to_have_text("Paused, 0 new")


def test_the_focus_can_be_seen_wherever_it_is(app: Poster, open_page: Open) -> None:
    page = open_page()
    post(app, "1")
    rows(page).click()
    page.get_by_role("searchbox").focus()
    seen = set()
    for _ in range(16):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => { const at = document.activeElement;
            const seen = at.matches("[aria-activedescendant]")
                ? document.getElementById(at.getAttribute("aria-activedescendant")) : at;
            return [at.id || at.textContent, getComputedStyle(seen).outlineStyle]; }"""
        )
        seen.add(name)
        assert outline != "none", name
    assert {"pause", "clear", "list", "✕", "Copy id", "Copy JSON"} <= seen


@pytest.mark.parametrize("width", [320, 360, 390, 768, 1280])
def test_nothing_is_wider_than_the_page(app: Poster, open_page: Open, width: int) -> None:
    page = open_page(width, 740)
    wide = "W" * 500
    app.segment(message(userId=wide, properties={"exceptionType": wide, "transaction": wide}))
    app.sentry(envelope(event(release=wide, exception={"values": [{"type": wide, "value": wide}]})))
    expect(rows(page).locator(".badge")).to_have_text(["Sentry", "Segment", "advice"])
    for _ in range(2):
        for element in ("document.documentElement", "document.querySelector('#details')"):
            scrolled, seen = page.evaluate(f"[{element}.scrollWidth, {element}.clientWidth]")
            assert scrolled <= seen
        rows(page).first.click() if rows(page).first.is_visible() else None
    expect(details(page)).to_contain_text("no sentAt")


def test_on_a_phone_the_details_are_over_the_list(app: Poster, open_page: Open) -> None:
    page = open_page(360, 740, has_touch=True, is_mobile=True)
    post(app, "1", "2")
    rows(page).filter(has_text="user 1").tap()
    expect(details(page)).to_be_visible()
    expect(page.get_by_role("listbox")).to_be_hidden()
    details(page).get_by_role("button", name="Close").tap()
    expect(details(page)).to_be_hidden()
    expect(page.get_by_role("listbox")).to_be_visible()


CONTRASTS = """() => {
    const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => [r, g, b].map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (each) => {
        for (; each; each = each.parentElement) {
            const color = rgb(getComputedStyle(each).backgroundColor);
            if (color.length < 4 || color[3] > 0) return color;
        }
    };
    return [...document.querySelectorAll("body *")]
        .filter((each) => each.checkVisibility()
            && [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
        .map((each) => {
            const pair = [rgb(getComputedStyle(each).color), ground(each)].map(luminance);
            return [(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), each.outerHTML];
        });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_the_contrast_of_wcag_aa(app: Poster, open_page: Open, scheme: str) -> None:
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 17, 24)"
    assert dark == (scheme == "dark")
    contrasts = page.evaluate(CONTRASTS)
    app.sentry(envelope(event(), event(event_id="1" * 32, user={})))
    app.segment(message(timestamp="x", number=1, none=None))
    app.segment(b"{")
    expect(rows(page)).to_have_count(3)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    for row in rows(page).all():
        row.click()
        expect(details(page).locator("h2")).to_be_visible()
        contrasts += page.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [each for each in contrasts if each[0] < 4.5] == []


def test_the_page_can_be_read_by_a_screen_reader(app: Poster, open_page: Open) -> None:
    page = open_page()
    post(app, "1")
    rows(page).click()
    expect(rows(page)).to_have_attribute("aria-setsize", "1")
    expect(rows(page)).to_have_attribute("aria-posinset", "1")
    for element in page.locator("button:visible, input:visible").all():
        expect(element).to_have_accessible_name(re.compile("."))
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert page.locator("#status[role=status]").count() == 1
