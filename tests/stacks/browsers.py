"""A headless Chromium, in which no page reaches anything but the inspector."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]

Open = Callable[..., Page]


@contextmanager
def chromium() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, "there is no Chromium; on Debian and Ubuntu: apt install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@contextmanager
def pages(browser: Browser, url: str) -> Iterator[Open]:
    """Opens pages on this URL. In the end, none may have complained or looked elsewhere."""
    problems: list[str] = []
    contexts = []

    def open_page(width: int = 1280, height: int = 800, query: str = "", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.route("**/*", guard)
        page = context.new_page()
        page.on("dialog", refuse)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: complaint(line.text))
        page.goto(url + query)
        return page

    def refuse(dialog: Any) -> None:
        problems.append(dialog.message)
        dialog.dismiss()

    def guard(route: Any) -> None:
        if route.request.url.startswith(url):
            route.continue_()
        else:
            problems.append(f"asked for {route.request.url}")
            route.abort()

    def complaint(text: str) -> None:
        # Of a server that a test has stopped, and of a file that the inspector refuses.
        if "net::ERR_" not in text and "status of 400" not in text:
            problems.append(text)

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
