"""The tables of the docs are those of the code."""

from __future__ import annotations

import ast
import copy
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from collector import Collector
from pages import ROOT, rows
from sentry_segment import SegmentIntegration
from sentry_segment.mapping.fields import FIELDS
from sentry_segment.stats import DROP_REASONS, Stats
from sentry_segment.wire.verdict import MAX_BACKOFF, MAX_RETRY_AFTER, Outcome, judge
from support import Init

OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(SegmentIntegration).parameters.items()
}


@pytest.mark.parametrize("page", ["README.md", "docs/options.md"])
def test_the_options_are_those_of_the_constructor(page: str) -> None:
    shown = {}
    for option, default, *_ in rows(page, "option | default"):
        [name] = re.findall(r"`(\w+)`", option)
        shown[name] = eval(default.strip("`"))
    assert shown == OPTIONS
    assert list(shown) == list(OPTIONS)


def test_every_option_has_a_section_of_its_own() -> None:
    texts = [(ROOT / "docs" / page).read_text() for page in ("options.md", "spool.md", "oauth.md")]
    headings = [name for text in texts for name in re.findall(r"^## (\w+)$", text, re.MULTILINE)]
    assert sorted(headings) == sorted(OPTIONS)


def test_the_lowest_versions_are_those_that_the_tests_are_run_with() -> None:
    shown = {row[0].strip("`"): row[1] for row in rows("docs/versions.md", "package")}
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if "==" in line)
    project = (ROOT / "pyproject.toml").read_text()
    [python] = re.findall(r'^requires-python = ">=(.*)"$', project, re.MULTILINE)
    assert shown == {"Python": python, **tested}


def test_the_counters_are_those_of_stats() -> None:
    fields = [row[0].strip("`") for row in rows("docs/stats.md", "field")]
    assert fields == list(inspect.signature(Stats).parameters)
    reasons = [row[0].strip("`") for row in rows("docs/stats.md", "reason in `dropped`")]
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
    shown = [
        name
        for row in rows("docs/modules.md", "module")
        for name in re.findall(r"`([\w/]+\.py|\w+/)`", row[0])
    ]
    package = ROOT / "sentry_segment"
    paths = [path.relative_to(package) for path in package.rglob("*.py")]
    tools = {"check", "inspector", "spool_command", "tunnel"}  # as one each
    real = {f"{path.parts[0]}/" if path.parts[0] in tools else path.as_posix() for path in paths}
    assert sorted(shown) == sorted(name for name in real if not re.search(r"(^|/)_", name))


# What is sent


def paths(message: Any, path: str = "") -> set[str]:
    """Those of all values in a message: `context.page.url`."""
    if not isinstance(message, dict):
        return {path}
    return {found for key in message for found in paths(message[key], f"{path}.{key}".strip("."))}


def real_message(collector: Collector, init: Init) -> dict[str, Any]:
    """One that has all that a message can have."""
    visible = {"anonymous": True, "sentry_url": "https://acme.sentry.io"}
    init(segment=visible, environment="production", release="shop@1.4.2")
    sentry_sdk.capture_event(
        {
            "exception": {"values": [{"type": "KeyError"}]},
            "user": {"id": "1906"},
            "transaction": "checkout",
            "request": {
                "url": "https://shop.example/checkout?express=1",
                "method": "POST",
                "headers": {"User-Agent": "Mozilla/5.0", "Referer": "https://shop.example/cart"},
                "env": {"REMOTE_ADDR": "198.51.100.6"},
                "cookies": {"ajs_anonymous_id": "8b1c7a1e-52d1-4a0b-9f6c-0d6f6a3f2c11"},
            },
        }
    )
    [message] = collector.wait_for_messages(1)
    return message


@pytest.mark.parametrize("page", ["docs/what-is-sent.md", "docs/migrating.md"])
def test_every_field_of_a_message_is_in_the_table(
    page: str, collector: Collector, init: Init
) -> None:
    """Of the page's, that is, and of that which messages are made by."""
    real = paths(real_message(collector, init)) - {"sentAt"}
    assert real == {row.path for row in FIELDS.rows}
    shown = {
        name for field, *_ in rows(page, "field") for name in re.findall(r"`([\w.]+)`", field)
    } - {"sentAt"}
    whole = {"context.library", "integration"}  # each in one row
    real = {path for path in real if not path.startswith(tuple(whole))} | whole
    constant = {"type"} if page == "docs/what-is-sent.md" else set()
    assert shown == real - constant


@pytest.mark.parametrize("page", ["README.md", "docs/what-is-sent.md"])
def test_the_message_that_is_shown_has_the_fields_of_one(page: str) -> None:
    """But for those that an option adds."""
    [example] = re.findall(r"```json\n(\{\n  \"type\".*?)```", (ROOT / page).read_text(), re.DOTALL)
    added = {"anonymousId", "properties.sentryUrl"}
    assert paths(json.loads(example)) == {row.path for row in FIELDS.rows} - added


def test_the_waits_are_those_of_the_package() -> None:
    text = " ".join((ROOT / "docs/delivery.md").read_text().split())
    shown = set(re.findall(r"up to (\d+) seconds", text))
    assert shown == {f"{MAX_BACKOFF:.0f}", f"{MAX_RETRY_AFTER:.0f}"}


def test_the_privacy_table_shows_how_to_remove_a_field(collector: Collector, init: Init) -> None:
    real = real_message(collector, init)
    named: set[str] = set()
    for fields, _example, _source, _personal, remedy in rows("docs/privacy.md", "field | example"):
        found = re.findall(r"`([\w.]+)`", fields)
        named.update(found)
        field = found[0]
        if remedy in ("needed", "drop the message: `return None`"):
            continue
        message = copy.deepcopy(real)
        assert value_at(message, field)
        context, properties = message["context"], message["properties"]
        names = {"message": message, "context": context, "properties": properties}
        names["page"] = context["page"]
        exec(remedy.strip("`"), names)
        assert not value_at(message, field), remedy
    constant = "type", "event", "context.library", "integration"
    all_that_leaves = {row.path for row in FIELDS.rows if not row.path.startswith(constant)}
    assert all_that_leaves <= named


def value_at(message: Any, path: str) -> Any:
    for key in path.split("."):
        message = message.get(key) if isinstance(message, dict) else None
    return message


# Log lines


def test_every_log_line_is_in_the_table() -> None:
    shown = [
        text.split("…")[0].lstrip("1 ")
        for cell, *_ in rows("docs/log-lines.md", "line begins with")
        for text in re.findall(r"`([^`]+)`", cell)
    ]
    lines = [line for path in (ROOT / "sentry_segment").rglob("*.py") for line in logged(path)]
    missing = [
        line
        for line in lines
        if not any(line.startswith(text) or text.startswith(line) for text in shown)
    ]
    assert missing == []
    unknown = [
        text
        for text in shown
        if not any(line.startswith(text) or text.startswith(line) for line in lines)
    ]
    assert unknown == []


def logged(path: Path) -> list[str]:
    """The constant beginnings of what a module logs."""
    found = []
    position = {"SpoolError": 0, "SpoolLostError": 0, "warn": -1, "drop": 1}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            place = position.get(called)
            if place is not None and place < len(node.args):
                found.append(beginning(node.args[place]))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "text":
            found.append(beginning(node.value))  # which is logged some lines below
        elif isinstance(node, ast.FunctionDef) and node.name == "_refusal":
            found += [beginning(n.value) for n in ast.walk(node) if isinstance(n, ast.Return)]
    return [text for text in found if text]


def beginning(text: ast.expr | None) -> str:
    """Without a number at the very beginning."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    texts = [str(part.value) for part in parts[:2] if isinstance(part, ast.Constant)]
    if texts and (isinstance(parts[0], ast.Constant) or re.match(r" \w", texts[0])):
        return texts[0].lstrip()
    return ""
