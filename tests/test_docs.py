"""The docs say what is true: their examples run, their tables and links are those of the code."""

from __future__ import annotations

import inspect
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from demo.collector import Collector, Reply
from sentry_segment import SegmentIntegration
from sentry_segment.stats import DROP_REASONS, Stats
from sentry_segment.verdict import Outcome, judge
from support import Init, capture

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DSN = "https://public@sentry.example.com/1"

OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(SegmentIntegration).parameters.items()
}


def blocks(language: str) -> list[Any]:
    """Every code block of this language, named by its page and line."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(pytest.param(match[1], id=f"{page.name}:{line}"))
    return found


PYTHON = blocks("python")
COMPLETE = [block for block in PYTHON if "sentry_sdk.init(" in block.values[0]]


def code_with(part: str) -> str:
    """The one complete example that holds this text."""
    [code] = [block.values[0] for block in COMPLETE if part in block.values[0]]
    assert isinstance(code, str)
    return code


# Python


@pytest.fixture
def here(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Collector]:
    """The collector in the place of Segment, where an example names no host, and of its key.

    The example's files are made in a folder of its own.
    """
    monkeypatch.chdir(tmp_path)
    defaults = {name: OPTIONS[name] for name in OPTIONS if name != "write_key"}
    monkeypatch.setattr(
        SegmentIntegration.__init__, "__kwdefaults__", {**defaults, "host": collector.url}
    )
    monkeypatch.setenv("SEGMENT_WRITE_KEY", "your-write-key")
    yield collector
    collector.answer = None


def run(code: str, collector: Collector) -> dict[str, Any]:
    """Run an example, with the collector in the place of the Sentry that it names."""
    assert DSN in code
    code = code.replace("/var/lib/shop/", "")  # files are made in the test's own folder
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code.replace(DSN, collector.dsn), "example", "exec"), names)
    return names


@pytest.mark.parametrize("code", PYTHON)
def test_every_python_block_compiles(code: str) -> None:
    compile(code, "example", "exec")


@pytest.mark.parametrize("code", COMPLETE)
def test_every_complete_example_mirrors_an_error(code: str, here: Collector) -> None:
    run(code, here)
    event_id = capture(id="a-users-id")
    sentry_sdk.flush(10.0)
    mirrored = {message["messageId"]: message for message in here.messages}
    assert mirrored[event_id]["userId"] == "a-users-id"
    assert {call.write_key for call in here.calls} == {"your-write-key"}
    assert [event["event_id"] for event in here.events if event["event_id"] == event_id]


def test_the_first_error_prints_that_it_is_delivered(
    here: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    run(code_with('{}["address"]'), here)
    assert "delivered=1" in capsys.readouterr().out
    [message] = here.messages
    assert (message["userId"], message["properties"]["exceptionType"]) == ("1906", "KeyError")


def test_the_example_without_query_removes_it_for_segment_alone(here: Collector) -> None:
    run(code_with("def without_query"), here)
    capture_in_request()
    [message] = here.wait_for_messages(1)
    sentry_sdk.flush(10.0)
    assert "secret" not in json.dumps(message)
    assert message["context"]["page"] == {
        "url": "https://shop.example/checkout",
        "method": "POST",
        "search": "",
        "referrer": "https://shop.example/cart",
    }
    assert here.events[0]["request"]["query_string"] == "token=secret"


def test_the_example_without_ip_address_removes_it_for_both(here: Collector) -> None:
    run(code_with("def without_ip_address"), here)
    capture_in_request()
    [message] = here.wait_for_messages(1)
    sentry_sdk.flush(10.0)
    assert "198.51.100" not in json.dumps(message)
    assert "198.51.100" not in json.dumps(here.events)


def capture_in_request() -> None:
    """An error of a user, in a web request with all that a message can have of one."""
    sentry_sdk.capture_event(
        {
            "exception": {"values": [{"type": "KeyError", "value": "'address'"}]},
            "user": {"id": "1906", "ip_address": "198.51.100.6"},
            "transaction": "checkout",
            "release": "shop@1.4.2",
            "request": {
                "url": "https://shop.example/checkout?token=secret",
                "query_string": "token=secret",
                "method": "POST",
                "headers": {
                    "User-Agent": "Mozilla/5.0",
                    "Referer": "https://shop.example/cart?token=secret",
                },
                "env": {"REMOTE_ADDR": "198.51.100.7"},
            },
        }
    )


def test_the_example_of_before_track_drops_and_edits(here: Collector) -> None:
    run(code_with('.get("synthetic")'), here)
    sentry_sdk.set_tag("plan", "enterprise")
    capture()
    sentry_sdk.set_tag("synthetic", "yes")
    capture()
    sentry_sdk.flush(10.0)
    [message] = here.messages
    assert message["properties"]["plan"] == "enterprise"


def test_the_example_of_on_error_logs_what_is_lost(
    here: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    run(code_with("def on_error"), here)
    here.answer = lambda call: Reply(403)
    capture()
    sentry_sdk.flush(10.0)
    assert "1 lost for Segment: HTTP 403" in caplog.text


def test_the_example_of_all_options_is_accepted() -> None:
    [code] = [block.values[0] for block in PYTHON if "max_queue_size=50_000" in block.values[0]]
    names: dict[str, Any] = {}
    exec(code, names)
    assert "events.eu1.segmentapis.com" in repr(names["segment"])


def test_the_example_of_sigterm_sets_a_handler() -> None:
    [code] = [block.values[0] for block in PYTHON if "SIGTERM" in block.values[0]]
    before = signal.getsignal(signal.SIGTERM)
    try:
        exec(code, {})
        handler: Any = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit):
            handler(signal.SIGTERM, None)
    finally:
        signal.signal(signal.SIGTERM, before)


# JSON


@pytest.mark.parametrize("text", blocks("json"))
def test_every_message_shown_has_the_keys_of_a_real_one(
    text: str, collector: Collector, init: Init
) -> None:
    init(environment="production")
    capture_in_request()
    [real] = collector.wait_for_messages(1)
    shown = json.loads(text)
    del real["sentAt"]  # the request's, not the message's: the docs say so
    assert keys(shown) == keys(real)
    assert shown["messageId"] == shown["properties"]["eventId"]
    for path in ("type", "event", "integration"):
        assert shown[path] == real[path]


def keys(value: Any) -> Any:
    return (
        {key: keys(part) for key, part in value.items()} if isinstance(value, dict) else type(value)
    )


# Tables


def rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the table whose first row begins with `heading`."""
    text = (ROOT / page).read_text()
    match = re.search(
        rf"^\| {re.escape(heading)} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE
    )
    assert match, f"no such table in {page}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in match[1].splitlines()]


@pytest.mark.parametrize("page", ["README.md", "docs/options.md"])
def test_the_options_are_those_of_the_constructor(page: str) -> None:
    shown = {}
    for option, default, *_ in rows(page, "option | default"):
        [name] = re.findall(r"`(\w+)`", option)
        shown[name] = eval(default.strip("`"))
    assert shown == OPTIONS
    assert list(shown) == list(OPTIONS)


def test_every_option_has_a_section_of_its_own() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/options.md").read_text(), re.MULTILINE)
    assert headings == list(OPTIONS)


def test_the_counters_are_those_of_stats() -> None:
    fields = [row[0].strip("`") for row in rows("docs/delivery.md", "field")]
    assert fields == list(inspect.signature(Stats).parameters)
    reasons = [row[0].strip("`") for row in rows("docs/delivery.md", "reason in `dropped`")]
    assert sorted(reasons) == sorted(DROP_REASONS)


def test_the_verdicts_are_those_of_the_code() -> None:
    """The table against the verdict on every status."""
    shown = {}
    for status in range(200, 600):
        [shown[status]] = [
            meaning
            for answer, meaning in rows("docs/delivery.md", "answer")
            if covers(answer, status)
        ]
    words = {
        Outcome.DELIVERED: "delivered",
        Outcome.RETRY: "try again",
        Outcome.REFUSED: "given up",
        Outcome.SPLIT: "split",
    }
    for status, meaning in shown.items():
        assert meaning.startswith(words[judge(status, None, 0.0).outcome]), status


def covers(answer: str, status: int) -> bool:
    """Whether a row's first cell speaks of a status: "2xx", "5xx other than 501", "other 4xx"."""
    if answer.startswith("no answer") or answer.endswith("to a single message"):
        return False  # no status, or no other than that of a batch
    general, _, excepted = answer.partition(" other than ")
    if str(status) in re.findall(r"\d{3}", excepted):
        return False
    if str(status) in re.findall(r"\d{3}", general):
        return True
    named = {
        number
        for cell, *_ in rows("docs/delivery.md", "answer")
        for number in re.findall(r"\d{3}", cell.partition(" other than ")[0])
    }
    return f"{status // 100}xx" in general and str(status) not in named


def test_the_modules_are_those_of_the_package() -> None:
    shown = {
        name
        for row in rows("docs/how-it-works.md", "module")
        for name in re.findall(r"`(\w+\.py)`", row[0])
    }
    real = {path.name for path in (ROOT / "sentry_segment").glob("*.py")}
    assert shown == {name for name in real if not name.startswith("_")}


# Links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_point_at_what_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """Those of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}\n" in navigation


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_a_place_left_to_be_filled_in(page: Path) -> None:
    assert not re.search(r"^[A-Z]{3,}$|\bTODO\b|\bTBD\b", page.read_text(), re.MULTILINE)
