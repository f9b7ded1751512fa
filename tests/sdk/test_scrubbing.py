"""What Sentry's servers would filter reaches no one: Segment, hooks, the spool, tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber

from collector import Collector, Reply
from sentry_segment.testing import capture_messages
from sqlite_spools import kept, wait_until
from support import Init

SECRET = "s3cr3t"
SEARCH = f"page=1&token={SECRET}&coupon={SECRET}&session={SECRET}"
REQUEST: dict[str, Any] = {
    "url": f"https://jo:{SECRET}@shop.example/cart",
    "query_string": SEARCH,
    "headers": {"Referer": f"https://shop.example/?password={SECRET}&page=2"},
}
OWN = EventScrubber(denylist=[*DEFAULT_DENYLIST, "Coupon"])


def capture() -> None:
    sentry_sdk.set_user({"id": "u1"})
    sentry_sdk.capture_event({"exception": {"values": [{"type": "KeyError"}]}, "request": REQUEST})


def page_of(message: Any) -> dict[str, str]:
    found: dict[str, str] = message["context"]["page"]
    return found


@pytest.mark.parametrize("hook", [None, lambda message, event: message], ids=["draft", "hook"])
def test_a_message_is_filtered_by_relays_rules_and_the_sdks_names(
    hook: Any, collector: Collector, init: Init
) -> None:
    init(event_scrubber=OWN, segment={"before_track": hook})
    capture()
    [message] = collector.wait_for_messages(1)
    assert SECRET not in json.dumps(message)
    page = page_of(message)
    assert page["url"] == "https://shop.example/cart"
    assert page["search"] == "page=1&token=[Filtered]&coupon=[Filtered]&session=[Filtered]"
    assert page["referrer"] == "https://shop.example/?password=[Filtered]&page=2"


def test_the_names_that_the_sdk_does_not_know_are_left(collector: Collector, init: Init) -> None:
    init()
    capture()
    [message] = collector.wait_for_messages(1)
    filtered = f"page=1&token=[Filtered]&coupon={SECRET}&session=[Filtered]"
    assert page_of(message)["search"] == filtered


def test_without_scrub_all_is_sent_as_it_stands(collector: Collector, init: Init) -> None:
    init(event_scrubber=OWN, segment={"scrub": False})
    capture()
    [message] = collector.wait_for_messages(1)
    page = page_of(message)
    assert (page["url"], page["search"]) == (REQUEST["url"], SEARCH)
    assert SECRET in page["referrer"]


def test_a_hook_gets_it_filtered_and_can_put_back_what_is_in_the_event(
    collector: Collector, init: Init
) -> None:
    seen = []

    def before_track(message: Any, event: Any) -> Any:
        seen.append(json.dumps(message))
        page_of(message)["search"] = event["request"]["query_string"]
        return message

    init(event_scrubber=OWN, segment={"before_track": before_track})
    capture()
    [message] = collector.wait_for_messages(1)
    assert SECRET not in seen[0]
    assert page_of(message)["search"] == SEARCH


def test_nothing_unfiltered_is_on_disk(collector: Collector, init: Init, tmp_path: Path) -> None:
    collector.answer = lambda call: Reply(503)
    spool = tmp_path / "spool.db"
    integration = init(event_scrubber=OWN, segment={"spool": spool})
    capture()
    wait_until(lambda: integration.stats.spooled == 1)
    assert [page_of(message)["url"] for message in kept(spool)] == ["https://shop.example/cart"]
    files = [path for path in tmp_path.iterdir() if SECRET.encode() in path.read_bytes()]
    assert files == []


def test_on_error_and_the_log_get_it_filtered(
    collector: Collector, init: Init, caplog: pytest.LogCaptureFixture
) -> None:
    given: list[Any] = []
    refused = init(
        event_scrubber=OWN, segment={"on_error": lambda error, messages: given.extend(messages)}
    )
    collector.answer = lambda call: Reply(422)
    capture()
    # And one that is longer than a message may be, and so has no JSON form.
    sentry_sdk.capture_event(
        {
            "exception": {"values": [{"type": "KeyError"}]},
            "user": {"id": "u" * 31_500},
            "request": REQUEST,
        }
    )
    assert refused.flush(30.0)
    assert len(given) == 2
    assert SECRET not in json.dumps(given) + caplog.text


@pytest.mark.parametrize("key", ["a key", ""])
def test_a_tests_messages_are_filtered(key: str, init: Init) -> None:
    init(event_scrubber=OWN, segment={"write_key": key})
    with capture_messages() as messages:
        capture()
    assert page_of(messages[0])["url"] == "https://shop.example/cart"
    assert SECRET not in json.dumps(messages)


def test_relays_rules_hold_where_the_sdks_scrubber_knows_no_name(
    collector: Collector, init: Init
) -> None:
    init(event_scrubber=EventScrubber(denylist=[]))
    capture()
    [message] = collector.wait_for_messages(1)
    assert page_of(message)["search"] == SEARCH.replace(f"token={SECRET}", "token=[Filtered]")


class OwnScrubber:
    """Of an application's own making: without lists, or with odd ones."""

    def __init__(self, denylist: Any) -> None:
        self.denylist = denylist

    def scrub_event(self, event: Any) -> None:
        pass


def test_a_scrubber_of_the_applications_own_is_asked_for_its_names(
    collector: Collector, init: Init
) -> None:
    init(event_scrubber=OwnScrubber((1, None, "COUPON")))
    capture()
    [message] = collector.wait_for_messages(1)
    assert "coupon=[Filtered]" in page_of(message)["search"]


@pytest.mark.parametrize("odd", [None, 5, len])
def test_where_it_has_none_the_default_rules_hold(
    odd: Any, collector: Collector, init: Init
) -> None:
    init(event_scrubber=OwnScrubber(odd))
    capture()
    [message] = collector.wait_for_messages(1)
    assert "token=[Filtered]" in page_of(message)["search"]
