"""The examples of the docs run, and do what the text says; the messages shown are real ones."""

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

from collector import Collector, Reply
from pages import BLOCKS, Block
from sentry_segment import SegmentIntegration
from support import Init, capture
from token_server import CLIENT_ID, KEY_ID, TokenServer, key_pair

DSN = "https://public@sentry.example.com/1"

OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(SegmentIntegration).parameters.items()
}


# Those of the pages on a stack need that stack: their own tests run them.
PYTHON = [
    block for block in BLOCKS if block.language == "python" and "stacks" not in block.page.parts
]
# That of the inspector has its own test, tests/inspector/test_inspector_docs.py.
COMPLETE = [
    block
    for block in PYTHON
    if "sentry_sdk.init(" in block.text and block.page.name != "inspector.md"
]
JSON = [block for block in BLOCKS if block.language == "json"]


def name(block: Block) -> str:
    return block.name


def code_with(part: str) -> str:
    """The one complete example that holds this text."""
    [block] = [block for block in COMPLETE if part in block.text]
    return block.text


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


@pytest.mark.parametrize("block", PYTHON, ids=name)
def test_every_python_block_compiles(block: Block) -> None:
    compile(block.text, "example", "exec")


@pytest.mark.parametrize(
    "block",
    [each for each in COMPLETE if not re.search(r"def show\(|oauth", each.text)],
    ids=name,
)
def test_every_complete_example_mirrors_an_error(block: Block, here: Collector) -> None:
    run(block.text, here)
    event_id = capture(id="a-users-id")
    sentry_sdk.flush(10.0)
    mirrored = {message["messageId"]: message for message in here.messages}
    assert mirrored[event_id]["userId"] == "a-users-id"
    assert {call.write_key for call in here.calls} == {"your-write-key"}
    assert [event["event_id"] for event in here.events if event["event_id"] == event_id]


def test_the_oauth_example_gets_a_token(
    here: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = code_with("oauth_client_key=Path").replace("/etc/shop/", "")
    code = code.replace("your-client-id", CLIENT_ID).replace("your-key-id", KEY_ID)
    (tmp_path / "segment-key.pem").write_text(key_pair()[0])
    with TokenServer() as server:
        defaults = SegmentIntegration.__init__.__kwdefaults__ or {}
        monkeypatch.setitem(defaults, "oauth_auth_server", server.url)
        run(code, here)
        capture(id="a-users-id")
        sentry_sdk.flush(10.0)
        [call] = here.calls
        assert server.knows(call)
    assert call.json["writeKey"] == "your-write-key"


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


def test_the_example_without_request_sends_the_id_and_the_properties_alone(here: Collector) -> None:
    run(code_with("def without_request"), here)
    capture_in_request()
    sentry_sdk.flush(10.0)
    [message] = here.messages
    assert list(message["context"]) == ["library"]
    assert message["userId"] == "1906"
    assert message["properties"]["transaction"] == "checkout"


def test_the_example_with_another_id_changes_it_for_segment_alone(here: Collector) -> None:
    run(code_with("def with_our_id"), here)
    capture(id="staff-1906")
    sentry_sdk.flush(10.0)
    assert [message["userId"] for message in here.messages] == ["1906"]
    assert [event["user"]["id"] for event in here.events] == ["staff-1906"]


def test_the_example_for_development_shows_a_message_and_sends_none(
    here: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    run(code_with("def show"), here)
    sentry_sdk.flush(10.0)
    assert "'exceptionType': 'ValueError'" in capsys.readouterr().out
    assert len(here.events) == 1
    assert not here.calls


def test_the_first_look_of_troubleshooting_prints_the_counters(
    here: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    run(code_with("is anybody there?"), here)
    assert "mirrored=1" in capsys.readouterr().out


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
    [code] = [block.text for block in PYTHON if "max_queue_size=50_000" in block.text]
    names: dict[str, Any] = {}
    exec(code, names)
    assert "events.eu1.segmentapis.com" in repr(names["segment"])


def test_the_example_of_sigterm_sets_a_handler() -> None:
    [code] = [block.text for block in PYTHON if "SIGTERM" in block.text]
    before = signal.getsignal(signal.SIGTERM)
    try:
        exec(code, {})
        handler: Any = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit):
            handler(signal.SIGTERM, None)
    finally:
        signal.signal(signal.SIGTERM, before)


# JSON


@pytest.mark.parametrize("block", JSON, ids=name)
def test_every_message_shown_has_the_keys_of_a_real_one(
    block: Block, collector: Collector, init: Init
) -> None:
    init(environment="production")
    capture_in_request()
    [real] = collector.wait_for_messages(1)
    shown = json.loads(block.text)
    del real["sentAt"]  # the request's, not the message's: the docs say so
    assert keys(shown) == keys(real)
    assert shown["messageId"] == shown["properties"]["eventId"]
    for path in ("type", "event", "integration"):
        assert shown[path] == real[path]


def keys(value: Any) -> Any:
    return (
        {key: keys(part) for key, part in value.items()} if isinstance(value, dict) else type(value)
    )
