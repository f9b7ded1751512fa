"""What strangers put into the inspector's page is text, and nothing else."""

from __future__ import annotations

import json

from playwright.sync_api import Browser, expect

from inspectors import Poster, envelope, event, message
from sentry_segment.inspector.server import Inspector
from stacks.browsers import Open
from stacks.page_parts import details, rows

expect.set_options(timeout=30_000)


EVIL = (
    "<img src=x onerror=alert(1)><script>alert(2)</script><a href='javascript:alert(3)'>x</a>"
    '"><svg onload=alert(4)>{{7*7}}</script></title>\u202egnp.exe\u2066\x00\x1b[31m\u2028\ufeff'
)


MADE_OF_TEXT = """() => [...document.querySelectorAll("body *")].filter((each) =>
    each.matches("script, iframe, object, embed, a, b, form, [onerror], [onload]")
    || each.matches(":is(#rows, #details, #counts, #nothing) :is(img, svg, style, title)")
).map((each) => each.outerHTML)"""


def test_a_hostile_message_is_text_and_nothing_else(app: Poster, open_page: Open) -> None:
    page = open_page()
    properties = {"exceptionType": EVIL, "transaction": EVIL, EVIL: [EVIL, "\ud800"]}
    texts = dict.fromkeys(("userId", "event", "type", "timestamp", "sentAt"), EVIL)
    hostile = message(messageId=EVIL[:80], properties=properties, **texts)
    app.segment(json.dumps(hostile).encode(), headers={"Content-Type": "<img src=y>"})
    values = {"values": [{"type": EVIL, "value": EVIL}]}
    app.sentry(envelope(event(event_id=EVIL, exception=values, user={"id": EVIL}, release=EVIL)))
    app.segment(b"{}", headers={"Content-Encoding": "<b>gzip"})
    app.sentry(b"{}\n" + json.dumps({"type": EVIL}).encode() + b"\n{}")
    expect(page.locator("#counts")).to_have_text("3 rows · other items at Sentry: other 1")
    for row in rows(page).all():
        row.click()
        expect(details(page).locator("h2")).to_have_text(row.locator(".title").inner_text())
        assert page.evaluate(MADE_OF_TEXT) == []
    expect(details(page)).to_contain_text("<script>alert(2)</script>")
    expect(details(page)).to_contain_text("\\u202egnp.exe\\u2066\\u0000\\u001b[31m\\u2028\\ufeff")
    expect(details(page)).to_contain_text("\\ud800")
    page.get_by_role("searchbox").fill("<img src=x onerror")
    expect(rows(page)).to_have_count(2)
    page.get_by_role("searchbox").fill("no <b>such</b> thing")
    expect(rows(page)).to_have_count(0)
    assert page.evaluate(MADE_OF_TEXT) == []


def test_the_page_refuses_scripts_that_are_not_its_own(
    browser: Browser, inspector: Inspector
) -> None:
    """Were text ever taken for HTML by mistake."""
    page = browser.new_page()
    page.goto(inspector.url)
    with page.expect_console_message(lambda line: "Content Security Policy" in line.text):
        page.evaluate(
            """() => { const holder = document.createElement("div");
            holder.innerHTML = "<img src=/inspector/icon.svg onload='window.ran = true'>";
            document.body.append(holder); }"""
        )
    assert page.evaluate("window.ran") is None
    page.close()
