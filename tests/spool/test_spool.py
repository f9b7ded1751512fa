"""The spool: messages are on disk before they are sent, and outlive the process."""

from __future__ import annotations

import copy
import os
import pickle
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from collector import Call, Collector, Reply
from faults import arrived, hold
from scripts import run, start
from sentry_segment import DeliveryError, SegmentIntegration, TrackMessage
from sentry_segment.spool.schema import APPLICATION_ID, SCHEMA
from sentry_segment.spool.sqlite import SqliteSpool
from spools import (
    FILES,
    MAX_BYTES,
    adds_up,
    begins_at_init,
    kept,
    leave,
    let_leases_lapse,
    open_files,
    outage,
    query,
    track,
    users,
    wait_until,
    warnings,
)
from support import WRITE_KEY, Init, capture


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def without_sent_at(call: Call) -> list[dict[str, Any]]:
    """The messages of a request."""
    body = {name: value for name, value in call.json.items() if name != "sentAt"}
    messages: list[dict[str, Any]] = body["batch"] if call.path == "/v1/batch" else [body]
    return messages


# On the way


def test_a_message_is_in_the_file_while_it_is_sent_and_gone_when_it_is_delivered(
    collector: Collector, init: Init, path: Path
) -> None:
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture()
    arrived(collector)
    assert kept(path) == without_sent_at(collector.calls[0])
    stats = integration.stats
    assert (stats.mirrored, stats.queued, stats.spooled, stats.delivered) == (1, 0, 1, 0)
    go.set()
    assert integration.flush(10.0)
    assert kept(path) == []
    stats = integration.stats
    assert (stats.mirrored, stats.queued, stats.spooled, stats.delivered) == (1, 0, 0, 1)


@pytest.mark.parametrize("spooled", [False, True], ids=["without", "with"])
def test_a_message_is_delivered_as_it_was_made_with_a_spool_and_without(
    spooled: bool, collector: Collector, init: Init, path: Path
) -> None:
    made: list[TrackMessage] = []

    def edit(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        message["properties"].update(text="ünï 😀 \0", number=1.5, nothing=None)
        made.append(copy.deepcopy(message))
        return message

    integration = init(segment={"spool": path if spooled else None, "before_track": edit})
    go = hold(collector)
    for n in range(50):
        capture(id=f"u{n}")
        arrived(collector)
    wait_until(lambda: not spooled or integration.stats.queued == 0)
    go.set()
    assert integration.flush(10.0)
    assert [call.path for call in collector.calls] == ["/v1/track", "/v1/batch"]
    assert [each for call in collector.calls for each in without_sent_at(call)] == made
    assert path.exists() == spooled


def test_what_before_track_made_is_what_is_spooled(
    collector: Collector, init: Init, path: Path
) -> None:
    def edit(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        message["userId"] = "somebody"
        return message

    integration = init(segment={"spool": path, "before_track": edit})
    outage(collector)
    capture(id="a name")
    wait_until(lambda: integration.stats.spooled == 1)
    assert [message["userId"] for message in kept(path)] == ["somebody"]


def test_while_a_request_hangs_the_messages_after_it_are_spooled(
    collector: Collector, init: Init, path: Path
) -> None:
    integration = init(segment={"spool": path, "timeout": 60.0})
    go = hold(collector)
    captured = [capture()]
    arrived(collector)
    captured += [capture() for _ in range(5)]
    wait_until(lambda: integration.stats.spooled == 6)
    assert integration.stats.queued == 0
    assert [message["messageId"] for message in kept(path)] == captured
    assert len(collector.calls) == 1
    go.set()


def test_stats_add_up_at_any_moment_with_a_spool(
    collector: Collector, init: Init, path: Path
) -> None:
    leave(path, *[track(f"left{n}") for n in range(100)])
    integration = init(segment={"spool": path})
    capture()
    envelope = sentry_sdk.envelope.Envelope()
    envelope.add_event({"exception": {"values": [{"type": "E"}]}, "user": {"id": "u1"}})  # type: ignore[typeddict-item, unused-ignore]
    done = threading.Event()
    wrong: list[Any] = []

    def read() -> None:
        while not done.is_set():
            stats = integration.stats
            if not adds_up(stats):
                wrong.append(stats)

    collector.answer = lambda call: Reply(422) if len(collector.calls) % 5 == 0 else None
    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(1_000):
        integration._mirror.mirror(envelope)
    assert integration.flush(30.0)
    done.set()
    reader.join()
    assert wrong == []
    stats = integration.stats
    assert (stats.mirrored, stats.queued, stats.spooled) == (1_001, 0, 0)
    assert stats.recovered == 100
    assert stats.dropped["send_error"] > 0
    assert kept(path) == []


# The file


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_file_and_those_beside_it_are_for_their_owner_alone(
    umask: int, collector: Collector, init: Init, path: Path
) -> None:
    integration = init(segment={"spool": path})
    outage(collector)
    previous = os.umask(umask)
    try:
        capture()
        wait_until(lambda: integration.stats.spooled == 1)
    finally:
        os.umask(previous)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"spool.db": 0o600, "spool.db-wal": 0o600, "spool.db-shm": 0o600}


def test_the_file_says_what_it_is(path: Path) -> None:
    leave(path, track("u1"))
    assert query(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert query(path, "PRAGMA user_version") == [(SCHEMA,)]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]


def test_the_write_key_stands_nowhere_in_the_files(collector: Collector, path: Path) -> None:
    outage(collector)
    script = start(
        collector,
        """
        integration = init()
        capture("E")
        wait_until(lambda: integration.stats.spooled == 1)
        print("spooled", flush=True)
        told()
        """,
        spool=path,
    )
    assert script.line() == "spooled"
    script.kill()  # which leaves the write-ahead log as well
    content = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert sorted(content) == ["spool.db", "spool.db-shm", "spool.db-wal"]
    assert [each for each in content.values() if b'"exceptionType":"E"' in each]
    assert not [each for each in content.values() if WRITE_KEY.encode() in each]


OTHERS = {
    "no file": [],
    "nothing in it": [""],
    "another key's messages": ["another key"],
}


@pytest.mark.parametrize("keys", OTHERS.values(), ids=OTHERS)
def test_init_with_nothing_to_send_makes_no_file_and_starts_no_thread(
    keys: list[str], collector: Collector, path: Path
) -> None:
    for key in keys:
        leave(path, *[track("another's")] * bool(key), write_key=key)
    ended = run(
        collector,
        """
        init()
        print([each.name for each in threading.enumerate() if "segment" in each.name])
        print(sorted(os.listdir(os.path.dirname(SPOOL))))  # an open file has others beside it
        """,
        spool=path,
    )
    assert ended.out == f"[]\n{[path.name] * bool(keys)}\n", ended.err
    assert len(collector.calls) == 0


def test_closing_the_client_leaves_no_thread_and_no_open_file(
    collector: Collector, init: Init, path: Path
) -> None:
    before = set(threading.enumerate())
    init(segment={"spool": path})
    capture()
    collector.wait_for_messages(1)
    assert open_files(path) or not FILES.exists()
    sentry_sdk.get_client().close()
    wait_until(lambda: not [each for each in set(threading.enumerate()) - before if ours(each)])
    assert open_files(path) == []
    assert os.listdir(path.parent) == [path.name]


def ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("sentry-segment")


# Another process's messages


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


# Flush


def test_a_flush_is_done_when_the_messages_are_delivered(
    collector: Collector, init: Init, path: Path
) -> None:
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture()
    arrived(collector)
    capture()
    assert not integration.flush(0.2)
    assert integration.stats.spooled == 2
    go.set()
    assert integration.flush(10.0)
    assert len(collector.messages) == 2


def test_a_flush_waits_for_no_other_process(collector: Collector, init: Init, path: Path) -> None:
    integration = init(segment={"spool": path})
    capture(id="own")
    assert integration.flush(10.0)
    leave(path, track("left"))
    hold(collector)
    assert integration.flush(10.0)
    assert integration.stats.recovered == 0


@pytest.mark.parametrize("answered", [True, False], ids=["delivered", "in an outage"])
def test_where_no_thread_can_be_started_a_flush_spools_and_sends(
    answered: bool, collector: Collector, path: Path
) -> None:
    if not answered:
        outage(collector)
    ended = run(
        collector,
        f"""
        integration = init(default_integrations=False, shutdown_timeout=0.5)
        threading.Thread.start = lambda self: (_ for _ in ()).throw(
            RuntimeError("can't create new thread at interpreter shutdown")
        )
        capture("E")
        done = integration.flush({60.0 if answered else 0.5})
        print(done, integration.stats.delivered, integration.stats.spooled)
        """,
        spool=path,
    )
    assert ended.out == ("True 1 0\n" if answered else "False 0 1\n"), ended.err
    assert len(kept(path)) == (0 if answered else 1)
    assert "could not be delivered" not in ended.err


def test_where_no_thread_can_be_started_a_later_flush_sends_what_was_spooled(
    collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_thread = threading.Thread.start

    def start_another(thread: threading.Thread) -> None:
        if ours(thread):
            raise RuntimeError("can't start new thread")
        start_thread(thread)

    monkeypatch.setattr(threading.Thread, "start", start_another)
    integration = init(segment={"spool": path})
    outage(collector, status=429)
    for user in ("first", "second"):
        capture(id=user)
        assert not integration.flush(0.2)
    assert [message["userId"] for message in kept(path)] == ["first", "second"]
    assert integration.stats.spooled == 2
    collector.answer = None
    capture(id="third")
    assert integration.flush(10.0)
    assert users(collector) == ["first", "second", "third"]
    assert adds_up(integration.stats)
    assert kept(path) == []


# Refusals


def test_on_error_gets_what_was_left_and_what_is_new_as_it_was(
    collector: Collector, init: Init, path: Path
) -> None:
    given: list[tuple[DeliveryError, list[TrackMessage]]] = []
    made: list[Any] = [track("left")]

    def remember(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        made.append(copy.deepcopy(message))
        return message

    def on_error(error: Any, messages: list[TrackMessage]) -> None:
        given.append((error, messages))

    leave(path, made[0])
    collector.answer = lambda call: Reply(422)
    integration = init(segment={"spool": path, "before_track": remember, "on_error": on_error})
    capture(id="own")
    assert integration.flush(10.0)
    wait_until(lambda: integration.stats.spooled == 0)
    assert [message for _, messages in given for message in messages] == made
    assert {error.status for error, _ in given} == {422}
    assert integration.stats.dropped["send_error"] == 2
    assert kept(path) == []


@pytest.mark.parametrize("offending", [0, 4, 9])
def test_of_a_batch_only_the_offending_message_is_lost(
    offending: int, collector: Collector, init: Init, path: Path
) -> None:
    messages = [track(f"u{n}") for n in range(10)]
    leave(path, *messages)
    refused: list[Any] = []
    bad = f'"u{offending}"'.encode()
    collector.answer = lambda call: Reply(400) if bad in call.body else None
    integration = init(
        segment={"spool": path, "on_error": lambda error, messages: refused.extend(messages)}
    )
    capture(id="own")
    collector.wait_for_messages(10)
    wait_until(lambda: integration.stats.spooled == 0)
    assert refused == [messages[offending]]
    del messages[offending]
    assert users(collector) == [*(each["userId"] for each in messages), "own"]
    stats = integration.stats
    assert (stats.recovered, stats.dropped["send_error"]) == (10, 1)
    assert adds_up(stats)
    assert kept(path) == []


def test_a_message_without_a_json_form_blocks_no_other(
    collector: Collector, init: Init, path: Path
) -> None:
    def edit(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
        if message["userId"] == "bad":
            message["properties"]["object"] = object()
        return message

    refused: list[Any] = []
    integration = init(
        segment={
            "spool": path,
            "before_track": edit,
            "on_error": lambda error, messages: refused.extend(messages),
        }
    )
    go = hold(collector)
    for user in ("first", "bad", "last"):
        capture(id=user)
        arrived(collector)
    go.set()
    assert integration.flush(10.0)
    assert users(collector) == ["first", "last"]
    assert [message["userId"] for message in refused] == ["bad"]
    stats = integration.stats
    assert (stats.delivered, stats.dropped["internal_sdk_error"]) == (2, 1)
    assert adds_up(stats)
    assert kept(path) == []


# Room


def pad(message: TrackMessage, event: dict[str, Any]) -> TrackMessage:
    message["properties"]["padding"] = "x" * 10_000
    return message


def test_past_spool_max_bytes_the_newest_are_dropped_until_there_is_room(
    collector: Collector, init: Init, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    integration = init(segment={"spool": path, "spool_max_bytes": 1_000_000, "before_track": pad})
    outage(collector)
    captured = [capture() for _ in range(120)]
    wait_until(lambda: integration.stats.queued == 0)
    stats = integration.stats
    assert 60 < stats.spooled < 100
    assert stats.spooled + stats.dropped["queue_overflow"] == 120
    accepted = captured[: stats.spooled]
    assert [message["messageId"] for message in kept(path)] == accepted
    [line] = warnings(caplog)
    assert line.startswith(f"The spool {path} is full (spool_max_bytes)")

    collector.answer = None
    assert integration.flush(10.0)
    accepted.append(capture())
    assert integration.flush(10.0)
    assert [message["messageId"] for message in collector.messages] == accepted
    assert integration.stats.dropped == stats.dropped
    sentry_sdk.get_client().close()
    wait_until(lambda: os.listdir(path.parent) == [path.name])  # with the log written back
    assert path.stat().st_size <= 1_000_000


def test_the_file_shrinks_when_a_large_backlog_was_delivered(
    collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.01)
    integration = init(segment={"spool": path})
    capture()
    assert integration.flush(10.0)
    outage(collector)
    for part in range(20):
        leave(path, *[track(f"u{part}-{n}", 10_000) for n in range(100)])
    collector.answer = None
    collector.wait_for_messages(2_001, timeout=30.0)
    wait_until(lambda: query(path, "PRAGMA freelist_count") == [(0,)])
    # The log, which is as large as it ever was, did not take as much instead.
    assert path.with_name(path.name + "-wal").stat().st_size < 8_000_000
    sentry_sdk.get_client().close()
    wait_until(lambda: os.listdir(path.parent) == [path.name])  # with the log written back
    assert path.stat().st_size < 100_000


# Leases. Their rules are in `test_contract.py`; these are of the file's own.


def test_a_lease_from_before_the_machine_was_started_has_lapsed(path: Path) -> None:
    now = 1_000_000.0
    dead, alive = (SqliteSpool(str(path), MAX_BYTES, WRITE_KEY, lambda: now) for _ in range(2))
    dead.add([b"1"])
    now -= 0.5  # one that looked at the clock before it, and then waited for it
    assert alive.tend([]) == ({}, set())
    now -= 3600
    assert alive.tend([]) == ({dead.writer: 1}, set())


def test_a_writer_without_messages_is_forgotten_when_its_lease_has_lapsed(path: Path) -> None:
    dead, alive = (SqliteSpool(str(path), MAX_BYTES, WRITE_KEY) for _ in range(2))
    dead.add([b"1"])
    dead.delete([row.id for row in dead.read([dead.writer or 0], without=[])])
    let_leases_lapse(path)
    assert alive.tend([]) == ({}, set())
    assert query(path, "SELECT COUNT(*) FROM writers") == [(0,)]


def test_a_process_that_lost_its_messages_to_another_ends_with_those_under_way(
    collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped for longer than a lease, it goes on with what comes next."""
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.01)
    integration = init(segment={"spool": path})
    go = hold(collector, status=503)
    capture(id="under way")
    arrived(collector)
    capture(id="taken over")
    wait_until(lambda: integration.stats.spooled == 2)
    query(path, "UPDATE writers SET holder = 'another'")
    capture(id="next")
    wait_until(lambda: len(kept(path)) == 3)
    wait_until(lambda: integration.stats.spooled == 2)
    [theirs, own] = query(path, "SELECT holder FROM writers ORDER BY id")
    assert theirs == ("another",) != own
    go.set()
    assert integration.flush(10.0)
    assert users(collector) == ["under way", "next"]
    stats = integration.stats
    assert (stats.mirrored, stats.spooled, stats.delivered) == (3, 0, 2)


def test_what_was_lost_to_another_and_is_claimed_back_is_as_anothers(
    collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.01)
    integration = init(segment={"spool": path})
    go = hold(collector)
    capture(id="under way")
    arrived(collector)
    for n in range(3):
        capture(id=f"u{n}")
    wait_until(lambda: integration.stats.spooled == 4)
    query(path, "UPDATE writers SET holder = 'another'")
    wait_until(lambda: integration.stats.spooled == 1)  # that is under way
    query(path, "UPDATE writers SET holder = NULL")
    wait_until(lambda: integration.stats.recovered >= 3)
    capture(id="next")
    wait_until(lambda: integration.stats.queued == 0)
    assert len(query(path, "SELECT id FROM writers")) == 2
    go.set()
    assert integration.flush(10.0)
    wait_until(lambda: integration.stats.spooled == 0)
    assert sorted(users(collector)) == ["next", "u0", "u1", "u2", "under way"]
    assert integration.stats.delivered == 5
    assert not kept(path)
