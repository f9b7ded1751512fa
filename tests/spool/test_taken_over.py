"""Another process's messages: taken over, and sent once."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import sentry_sdk

from collector import Collector
from scripts import run
from sentry_segment import SegmentIntegration
from sqlite_spools import (
    begins_at_init,
    kept,
    leave,
    outage,
    track,
    users,
    wait_until,
)
from support import Init, capture


def test_what_was_left_is_sent_at_init(collector: Collector, path: Path) -> None:
    """On older SDKs, which tell an integration no options, with the first error."""
    leave(path, *[track(f"left{n}") for n in range(3)])
    ended = run(
        collector,
        f"""
        integration = init()
        if not {begins_at_init}:
            capture("E")
        wait_until(lambda: integration.stats.recovered and not integration.stats.spooled)
        stats = integration.stats
        print(stats.recovered, stats.delivered - stats.mirrored)
        """,
        spool=path,
    )
    assert ended.out == "3 3\n", ended.err
    assert users(collector)[:3] == ["left0", "left1", "left2"]
    assert kept(path) == []


@pytest.mark.skipif(not begins_at_init, reason="this SDK tells an integration no options")
@pytest.mark.parametrize("options", ["dsn=''", "segment={'write_key': ''}"])
def test_what_was_left_is_left_alone_where_nothing_is_mirrored(
    options: str, collector: Collector, path: Path
) -> None:
    leave(path, track("left"))
    leave(path, track("left"), write_key="")
    ended = run(
        collector,
        f"""
        init({options})
        print([each.name for each in threading.enumerate() if "segment" in each.name])
        """,
        spool=path,
    )
    assert ended.out == "[]\n", ended.err
    assert len(kept(path)) == 2


def test_another_write_keys_messages_are_left_alone(
    collector: Collector, init: Init, path: Path
) -> None:
    leave(path, track("another's"), write_key="another key")
    leave(path, track("ours"))
    integration = init(segment={"spool": path})
    capture(id="own")
    assert integration.flush(10.0)
    assert sorted(users(collector)) == ["ours", "own"]
    assert [message["userId"] for message in kept(path)] == ["another's"]


def test_two_clients_of_one_process_share_a_file_and_keep_to_their_keys(
    collector: Collector, init: Init, path: Path
) -> None:
    outage(collector)
    integrations = []
    for key in ("key of a", "key of b"):
        integrations.append(init(segment={"spool": path, "write_key": key}))
        capture(id=key)
        wait_until(lambda: integrations[-1].stats.spooled == 1)
    assert [message["userId"] for message in kept(path)] == ["key of a", "key of b"]
    collector.answer = None
    assert all(integration.flush(10.0) for integration in integrations)
    taken = [call for call in collector.calls if call.status == 200]
    assert sorted((call.write_key or "", call.json["userId"]) for call in taken) == [
        ("key of a", "key of a"),
        ("key of b", "key of b"),
    ]


def test_a_pickled_integration_has_the_spool(collector: Collector, init: Init, path: Path) -> None:
    outage(collector)
    integration = init(segment={"spool": path})
    capture(id="first")
    wait_until(lambda: integration.stats.spooled == 1)
    copied: SegmentIntegration = pickle.loads(pickle.dumps(integration))
    assert copied.stats.spooled == 0
    sentry_sdk.init(dsn=collector.dsn, integrations=[copied])
    capture(id="second")
    wait_until(lambda: copied.stats.spooled == 1)
    assert [message["userId"] for message in kept(path)] == ["first", "second"]
    collector.answer = None
    assert copied.flush(10.0)
    assert integration.flush(10.0)
    assert sorted(users(collector)) == ["first", "second"]
