"""What Sentry's servers would filter reaches no one: Segment, hooks, the spool, tests."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber

from collector import Collector, Reply
from scripts import run
from sentry_segment import SegmentIntegration
from sentry_segment.testing import capture_messages
from sqlite_spools import kept, wait_until
from support import WRITE_KEY, Init

SECRET = "s3cr3t"
SEARCH = f"page=1&token={SECRET}&coupon={SECRET}&session={SECRET}"
REQUEST: dict[str, Any] = {
    "url": f"https://jo:{SECRET}@shop.example/cart",
    "query_string": SEARCH,
    "headers": {"Referer": f"https://shop.example/?password={SECRET}&page=2"},
}
OWN = EventScrubber(denylist=[*DEFAULT_DENYLIST, "Coupon"])


def capture(**request: Any) -> None:
    """Capture an error, of the request with these fields alone, else of `REQUEST`."""
    request = request or REQUEST
    sentry_sdk.set_user({"id": "u1"})
    sentry_sdk.capture_event({"exception": {"values": [{"type": "KeyError"}]}, "request": request})


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
    on_disk = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert b"https://shop.example/cart" in on_disk["spool.db-wal"]
    assert SECRET.encode() not in b"".join(on_disk.values())


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


def test_a_generator_of_names_is_left_to_the_applications_scrubber(
    collector: Collector, init: Init
) -> None:
    names = (name for name in ("coupon", "invite"))
    init(event_scrubber=OwnScrubber(names))
    capture()
    [message] = collector.wait_for_messages(1)
    assert "token=[Filtered]" in page_of(message)["search"]
    assert list(names) == ["coupon", "invite"]


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, dict.fromkeys])
def test_the_names_may_be_in_any_collection(
    kind: Callable[..., Any], collector: Collector, init: Init
) -> None:
    many = [f"name{number}" for number in range(100_000)]
    init(event_scrubber=OwnScrubber(kind([*many, "Coupon"])))
    capture(query_string="coupon=1&name99999=2&name=3")
    [message] = collector.wait_for_messages(1)
    assert page_of(message)["search"] == "coupon=[Filtered]&name99999=[Filtered]&name=3"


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("GIFT-CODE=1&gift_code=2", "GIFT-CODE=[Filtered]&gift_code=2"),
        ("gift%2dcode=1&g%49ft-code=2", "gift%2dcode=[Filtered]&g%49ft-code=[Filtered]"),
        ("a%26b=1&a&b=1", "a%26b=[Filtered]&a&b=1"),
        ("c%2Bd=1", "c%2Bd=[Filtered]"),
        ("c+d=1", "c+d=1"),
        ("na%C3%AFve=1", "na%C3%AFve=[Filtered]"),
    ],
)
def test_a_name_counts_in_any_case_and_however_it_is_encoded(
    query: str, expected: str, recursive: bool, collector: Collector, init: Init
) -> None:
    own = EventScrubber(denylist=["Gift-Code", "A&B", "C+D", "NAÏVE"], recursive=recursive)
    init(event_scrubber=own)
    capture(query_string=query)
    [message] = collector.wait_for_messages(1)
    assert page_of(message)["search"] == expected


@pytest.mark.parametrize("send_default_pii", [False, True])
@pytest.mark.filterwarnings("ignore:The send_default_pii option:DeprecationWarning")
def test_what_is_personal_counts_unless_it_is_to_be_sent(
    send_default_pii: bool, collector: Collector, init: Init
) -> None:
    init(send_default_pii=send_default_pii)
    capture(query_string="remote_addr=192.0.2.1&session=2")
    [message] = collector.wait_for_messages(1)
    scrubber: Any = sentry_sdk.get_client().options["event_scrubber"]
    is_secret = "remote_addr" in scrubber.denylist
    assert is_secret or send_default_pii  # older SDKs have it among the secrets in any case
    address = "[Filtered]" if is_secret else "192.0.2.1"
    assert page_of(message)["search"] == f"remote_addr={address}&session=[Filtered]"


@pytest.mark.skipif("data_collection" not in DEFAULT_OPTIONS, reason="not in older SDKs")
@pytest.mark.parametrize(
    ("collected", "left"),
    [
        ({}, ["page", "my_coupon", "remote_addr"]),
        ({"user_info": False}, ["page", "my_coupon"]),
        ({"url_query_params": {"terms": ["", "COUPON"]}}, ["page", "remote_addr"]),
        ({"url_query_params": {"mode": "allowlist", "terms": ["Page"]}}, ["page"]),
        ({"url_query_params": {"mode": "allowlist"}}, []),
        ({"url_query_params": {"mode": "off", "terms": ["page"]}}, []),
    ],
)
@pytest.mark.parametrize("hook", [None, lambda message, event: message], ids=["draft", "hook"])
def test_with_data_collection_there_is_no_scrubber_and_what_it_would_filter_is_filtered(
    hook: Any, collected: Any, left: list[str], collector: Collector, init: Init
) -> None:
    init(data_collection=collected, segment={"before_track": hook})
    assert sentry_sdk.get_client().options["event_scrubber"] is None
    names = ["page", "my_coupon", "remote_addr", "session", "password"]
    given = "&".join(f"{name}=1" for name in names)
    capture(query_string=given, headers={"Referer": f"https://shop.example/?{given}"})
    [message] = collector.wait_for_messages(1)
    expected = "&".join(f"{name}={1 if name in left else '[Filtered]'}" for name in names)
    assert page_of(message)["search"] == expected
    assert page_of(message)["referrer"] == f"https://shop.example/?{expected}"


@pytest.mark.parametrize("key", [WRITE_KEY, ""], ids=["sent", "collected"])
def test_where_clients_share_an_integration_the_names_of_each_count(
    key: str, collector: Collector
) -> None:
    shared = SegmentIntegration(key, host=collector.url)
    with capture_messages() as messages:
        for names in (["coupon"], ["invite"]):
            own = EventScrubber(denylist=names)
            sentry_sdk.init(dsn=collector.dsn, integrations=[shared], event_scrubber=own)
            capture(query_string="coupon=1&invite=2&page=3")
    assert [page_of(message)["search"] for message in messages] == [
        "coupon=[Filtered]&invite=2&page=3",
        "coupon=[Filtered]&invite=[Filtered]&page=3",
    ]


def test_a_pickled_integration_filters_as_it_did(collector: Collector) -> None:
    for scrub, expected in ((True, "[Filtered]"), (False, "1")):
        given = SegmentIntegration(WRITE_KEY, host=collector.url, scrub=scrub)
        copy = pickle.loads(pickle.dumps(given))
        own = EventScrubber(denylist=["coupon"])
        sentry_sdk.init(dsn=collector.dsn, integrations=[copy], event_scrubber=own)
        capture(query_string="coupon=1")
        assert copy.flush(30.0)
        assert page_of(collector.messages[-1])["search"] == f"coupon={expected}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_childs_messages_are_filtered(collector: Collector) -> None:
    ended = run(
        collector,
        f"""
        from sentry_sdk.scrubber import EventScrubber

        integration = init(event_scrubber=EventScrubber(denylist=["coupon"]))
        event = {{"exception": {{"values": [{{}}]}}, "request": {{"query_string": {SEARCH!r}}}}}
        sentry_sdk.capture_event(event)
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0
        else:
            sentry_sdk.capture_event(event)
            assert integration.flush(30.0)
            os._exit(0)
        """,
    )
    assert ended.status == 0, ended.err
    assert len(collector.messages) == 2
    for message in collector.messages:
        assert page_of(message)["search"].startswith("page=1&token=[Filtered]&coupon=[Filtered]")
