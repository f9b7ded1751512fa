"""A real browser with Segment's own analytics.js: its visitor's errors are joined to the user."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from collector import Collector
from stacks.processes import PATIENCE, Process, Stack, stack
from stacks.servers import gunicorn
from support import WRITE_KEY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

NPM = Path(__file__).parents[2] / ".venv" / "npm"
ANALYTICS = NPM / "node_modules/@segment/analytics-next/dist/umd/standalone.js"
CDN = "https://cdn.segment.com"
SETTINGS = {"integrations": {"Segment.io": {"apiKey": WRITE_KEY, "apiHost": "api.segment.io/v1"}}}

PAGE = f"""\
<!doctype html>
<title>Shop</title>
<script>
  window.analytics = []
  analytics._writeKey = "{WRITE_KEY}"
  analytics._loadOptions = {{}}
  analytics.push(["page"])
</script>
<script src="{CDN}/analytics.js/v1/{WRITE_KEY}/analytics.min.js"></script>
"""


class Visit:
    """A page of the shop's, in a browser that reaches the shop alone: Segment is played here."""

    def __init__(self, browser: Browser, shop: str, collector: Collector) -> None:
        self._shop = shop
        self._collector = collector
        self.calls: list[dict[str, Any]] = []
        """What analytics.js has sent to Segment."""
        self._context = browser.new_context()
        self._context.route("**/*", self._answer)
        self.page: Page = self._context.new_page()

    def _answer(self, route: Route) -> None:
        url = route.request.url
        if url == f"{self._shop}/shop.html":
            route.fulfill(body=PAGE, content_type="text/html")
        elif url.startswith(self._shop):
            route.continue_()
        elif url.startswith(f"{CDN}/analytics.js/"):
            route.fulfill(path=ANALYTICS, content_type="text/javascript")
        elif url.startswith(f"{CDN}/v1/projects/"):
            route.fulfill(json=SETTINGS, headers={"Access-Control-Allow-Origin": "*"})
        elif url.startswith("https://api.segment.io/v1/"):
            self._pass_on(route)
        else:
            route.abort()

    def _pass_on(self, route: Route) -> None:
        """To the collector, as what the server sends."""
        allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}
        if route.request.method == "POST":
            call = json.loads(route.request.post_data or "{}")
            httpx.post(f"{self._collector.url}/v1/track", json=call).raise_for_status()
            self.calls.append(call)
        route.fulfill(json={"success": True}, headers=allowed)

    def cookie(self, name: str) -> str | None:
        return {each["name"]: each["value"] for each in self._context.cookies()}.get(name)

    def close(self) -> None:
        self._context.close()


@pytest.fixture
def machine(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with stack(collector, tmp_path) as running:
        yield running


@pytest.fixture
def shop(machine: Stack) -> Iterator[tuple[Process, str]]:
    server, url = gunicorn(machine, "flask_gunicorn.shop:app", "--threads", "4")
    yield server, url
    server.signal(signal.SIGTERM)
    assert server.end() == 0, server.output


def test_a_visitors_error_is_joined_to_the_user_who_logs_in(
    shop: tuple[Process, str], collector: Collector, browser: Browser
) -> None:
    url = shop[1]
    visit = Visit(browser, url, collector)
    try:
        page = visit.page
        page.goto(f"{url}/shop.html")
        page.wait_for_function("() => document.cookie.includes('ajs_anonymous_id')")
        assert page.evaluate("fetch('/recommend/unicorn-1').then(answer => answer.ok)")
        login = "new URLSearchParams({username: '7', password: 'seven'})"
        assert page.evaluate(f"fetch('/login', {{method: 'POST', body: {login}}}).then(a => a.ok)")
        page.evaluate("analytics.identify('7')")
        assert page.evaluate("fetch('/recommend/unicorn-2').then(answer => answer.ok)")
        page.wait_for_function("() => document.cookie.includes('ajs_user_id')")
        messages = collector.wait_for_messages(4, timeout=PATIENCE)
        cookie = visit.cookie("ajs_anonymous_id")
    finally:
        visit.close()
    assert cookie
    calls = [(m["type"], m.get("userId"), m.get("anonymousId")) for m in messages]
    assert sorted(calls, key=str) == [
        ("identify", "7", cookie),
        ("page", None, cookie),
        ("track", "7", cookie),
        ("track", None, cookie),
    ]
