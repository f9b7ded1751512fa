"""A real browser with Sentry's own SDK: its errors come through the shop, once on either side."""

from __future__ import annotations

import gzip
import re
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from collector import Collector
from stacks import test_web_fastapi
from stacks.arrivals import exception
from stacks.processes import PATIENCE, Process, Stack, stack
from stacks.servers import gunicorn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

SENTRY = Path(__file__).parents[2] / ".venv" / "npm" / "sentry.js"
ID = "8b1c7a1e-52d1-4a0b-9f6c-0d6f6a3f2c11"

PAGE = """\
<!doctype html>
<title>Shop</title>
<script src="/sentry.js"></script>
<script>
  const compressing = options => Sentry.createTransport(options, async request => {
    const stream = new Blob([request.body]).stream().pipeThrough(new CompressionStream("gzip"))
    const body = await new Response(stream).arrayBuffer()
    const headers = {"Content-Encoding": "gzip"}
    const answer = await fetch(options.url, {method: "POST", body, headers})
    return {statusCode: answer.status, headers: {}}
  })
  const options = {
    "?replays": () => ({integrations: [Sentry.replayIntegration()], replaysOnErrorSampleRate: 1}),
    "?compressing": () => ({transport: compressing}),
    "?ignoring": () => ({ignoreErrors: ["boring"]}),
  }
  Sentry.init({
    dsn: "%s", tunnel: "/tunnel", release: "page@7", tracesSampleRate: 1,
    ...options[location.search]?.(),
  })
  const faults = {
    captured() { Sentry.captureException(new Error("captured")) },
    uncaught() { setTimeout(() => { throw new TypeError("uncaught") }) },
    rejected() { Promise.reject(new RangeError("rejected")) },
  }
</script>
"""
FAULTS = ("captured", "rejected", "uncaught")


@pytest.fixture
def machine(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with stack(collector, tmp_path) as running:
        yield running


@pytest.fixture(params=["flask", "fastapi"])
def shop(request: pytest.FixtureRequest, machine: Stack) -> Iterator[tuple[str, str]]:
    """Its kind, and its URL."""
    server: Process
    if request.param == "flask":
        server, url = gunicorn(machine, "flask_gunicorn.shop:app", "--threads", "8")
    else:
        server, url = test_web_fastapi.uvicorn(machine, 1)
    yield request.param, url
    server.signal(signal.SIGTERM)
    assert server.end() in (0, -signal.SIGTERM), server.output


@pytest.fixture
def page(shop: tuple[str, str], collector: Collector, browser: Browser) -> Iterator[Page]:
    """The shop's page, in a browser that reaches the shop alone."""
    url = shop[1]

    def answer(route: Route) -> None:
        asked = route.request.url
        if asked.partition("?")[0] == f"{url}/shop.html":
            route.fulfill(body=PAGE % collector.dsn, content_type="text/html")
        elif asked == f"{url}/sentry.js":
            route.fulfill(path=SENTRY, content_type="text/javascript")
        else:
            route.abort()

    context = browser.new_context()
    context.add_cookies([{"name": "ajs_anonymous_id", "value": ID, "url": url}])
    # Not the shop's own: what leaves with a page that ends does not wait for Playwright's leave.
    context.route(re.compile(rf"^(?!{re.escape(url)}/(?!shop.html|sentry.js))"), answer)
    opened = context.new_page()
    opened.goto(f"{url}/shop.html")
    yield opened
    context.close()


def wait(page: Page, is_there: Callable[[], bool]) -> None:
    """Until it is. The page's requests go on only while Playwright is asked for something."""
    end = time.monotonic() + PATIENCE
    while not is_there():
        assert time.monotonic() < end
        page.wait_for_timeout(20)


def errors(collector: Collector) -> list[tuple[str, Any, Any]]:
    """Text, user id and anonymous id of each message's error."""
    events = {event["event_id"]: exception(event)["value"] for event in collector.events}
    ids = [
        (events[m["messageId"]], m.get("userId"), m.get("anonymousId")) for m in collector.messages
    ]
    return sorted(ids, key=str)


def test_errors_of_a_visitor_and_of_a_customer_arrive_once_on_both_sides(
    shop: tuple[str, str], page: Page, collector: Collector
) -> None:
    kind, url = shop

    def break_all() -> None:
        """One after the other: of what breaks in the same moment, the SDK takes the first."""
        for fault in FAULTS:
            arrived = len(collector.messages) + 1
            page.evaluate(f"faults.{fault}()")
            wait(page, partial(are_there, arrived))

    def are_there(number: int) -> bool:
        return len(collector.messages) == len(collector.events) == number

    break_all()
    assert errors(collector) == [(text, None, ID) for text in FAULTS]
    if kind == "flask":  # which believes its session alone
        login = "new URLSearchParams({username: '7', password: 'seven'})"
        assert page.evaluate(f"fetch('/login', {{method: 'POST', body: {login}}}).then(a => a.ok)")
        page.evaluate("Sentry.setUser({id: 'somebody else'})")
    else:
        page.evaluate("Sentry.setUser({id: '7'})")
    break_all()
    assert errors(collector) == sorted(
        [(text, user, ID) for text in FAULTS for user in (None, "7")], key=str
    )
    messages = collector.messages
    assert len(collector.events) == 6
    assert {m["context"]["page"]["url"] for m in messages} == {f"{url}/shop.html"}
    assert all("Chrome" in m["context"]["userAgent"] for m in messages)
    assert {m["properties"]["release"] for m in messages} == {"page@7"}


def test_sessions_and_spans_pass_through_unmirrored(page: Page, collector: Collector) -> None:
    page.evaluate("Sentry.startSpan({name: 'basket'}, () => 1); Sentry.captureSession()")
    page.evaluate("Sentry.flush(30000)")
    wait(page, lambda: {"session", "span"} <= {kind for kind, _ in collector.items})
    assert collector.messages == []


def test_a_sentry_that_is_full_silences_the_sdk(page: Page, collector: Collector) -> None:
    collector.sentry_status = 429
    collector.sentry_headers = {"Retry-After": "600", "X-Sentry-Rate-Limits": "600:error:key"}
    page.evaluate("Sentry.setUser({id: '7'})")

    def sessions() -> int:
        return len([kind for kind, _ in collector.items if kind == "session"])

    for text in ("one", "two"):  # the first may be kept back already: a session's answer says so
        before = sessions()
        page.evaluate(f"Sentry.captureException(new Error('{text}')); Sentry.flush(30000)")
        page.evaluate("Sentry.startSession(); Sentry.captureSession(); Sentry.flush(30000)")
        wait(page, lambda before=before: sessions() > before)  # type: ignore[misc]
    assert "two" not in [exception(event)["value"] for event in collector.events]


def test_replays_pass_through_as_they_are(page: Page, collector: Collector) -> None:
    page.goto(f"{page.url}?replays")
    page.evaluate("Sentry.setUser({id: '7'}); faults.captured()")
    kinds = {"event", "replay_event", "replay_recording"}
    wait(page, lambda: kinds <= {kind for kind, _ in collector.items})
    recording = next(body for body in collector.envelopes if b"replay_recording" in body)
    # A line of JSON, and what the browser has compressed.
    assert zlib.decompress(recording[recording.index(b"}\n\x78") + 2 :]).startswith(b"[{")
    wait(page, lambda: len(collector.messages) == 1)


def test_a_body_that_the_browser_compresses_is_read(page: Page, collector: Collector) -> None:
    page.goto(f"{page.url}?compressing")
    page.evaluate("Sentry.setUser({id: '7'}); faults.captured()")
    wait(page, lambda: len(collector.messages) == len(collector.events) == 1)
    compressed = [body for _, _, body in collector.sentry_requests if body.startswith(b"\x1f\x8b")]
    assert b"captured" in b"".join(map(gzip.decompress, compressed))


LEAVING = {
    "by the SDK": "Sentry.captureException(new Error('leaving'))",
    "by beacon": """
        const event = {event_id: "%s", exception: {values: [{type: "Error", value: "leaving"}]},
                       user: {id: "7"}, platform: "javascript"}
        const lines = [{dsn: Sentry.getClient().getOptions().dsn}, {type: "event"}, event]
        navigator.sendBeacon("/tunnel", lines.map(JSON.stringify).join("\\n"))
    """
    % ("7" * 32),
}


@pytest.mark.parametrize("how", LEAVING)
def test_what_breaks_as_the_page_is_left_arrives(
    page: Page, collector: Collector, how: str
) -> None:
    page.evaluate("Sentry.setUser({id: '7'})")
    page.evaluate(f"addEventListener('pagehide', () => {{ {LEAVING[how]} }})")
    page.goto("about:blank")
    wait(page, lambda: len(collector.messages) == len(collector.events) == 1)
    assert exception(collector.events[0])["value"] == "leaving"


def test_what_the_sdk_counts_as_dropped_passes_through(page: Page, collector: Collector) -> None:
    page.goto(f"{page.url}?ignoring")
    page.evaluate("Sentry.setUser({id: '7'}); Sentry.captureException(new Error('boring'))")
    page.evaluate("Sentry.flush(30000)")
    page.goto("about:blank")

    def dropped() -> list[str]:
        reports = [item for kind, item in collector.items if kind == "client_report"]
        return [each["category"] for report in reports for each in report["discarded_events"]]

    wait(page, lambda: "error" in dropped())
    assert collector.messages == collector.events == []


def test_the_demos_lottery_breaks_in_the_browser_and_is_on_both_sides(browser: Browser) -> None:
    examples = Path(__file__).parents[2] / "examples"
    command = [sys.executable, "-m", "demo", "--serve"]
    with subprocess.Popen(command, cwd=examples, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            shop, inspector = [demo.stdout.readline().split()[-1] for _ in range(2)]
            page = browser.new_page()
            page.goto(shop)
            page.click("text=Log in as grace")
            page.click("text=The lottery")
            page.click("text=Draw a number")

            def sides() -> set[str]:
                found = httpx.get(f"{inspector}/inspector/records").json()["records"]
                return {each["side"] for each in found if "TypeError" in str(each)}

            wait(page, lambda: sides() == {"sentry", "segment"})
            page.close()
        finally:
            demo.terminate()
