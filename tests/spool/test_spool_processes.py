"""The spool between processes: ends, kills, and many at once on one file."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from collector import Collector, Reply
from faults import arrived, hold
from scripts import names, run, start
from sqlite_spools import (
    begins_at_init,
    is_sound,
    kept,
    let_leases_lapse,
    outage,
    query,
    wait_until,
)
from support import Init, capture

SPOOLS_5 = """
    integration = init()
    for n in range(5):
        capture(f"E{n}")
    wait_until(lambda: integration.stats.spooled == 5 and not integration.stats.queued)
    print("spooled", flush=True)
    told()
"""
FIVE = [f"E{n}" for n in range(5)]

SENDS_WHAT_WAS_LEFT = f"""
    integration = init()
    if not {begins_at_init}:
        capture("own")
    wait_until(lambda: integration.stats.recovered and not integration.stats.spooled)
    stats = integration.stats
    print(stats.recovered, stats.delivered - stats.mirrored, stats.queued)
"""


# Ends


def test_what_a_process_could_not_deliver_is_sent_by_the_next_one_at_init(
    collector: Collector, path: Path
) -> None:
    outage(collector)
    first = run(
        collector, "init(shutdown_timeout=0.5); [capture(f'E{n}') for n in range(5)]", spool=path
    )
    assert (first.status, collector.messages) == (0, [])
    assert "could not be delivered" not in first.err
    assert len(kept(path)) == 5
    collector.answer = None
    second = run(collector, SENDS_WHAT_WAS_LEFT, spool=path)
    assert second.out == "5 5 0\n", second.err
    assert names(collector)[:5] == FIVE
    assert kept(path) == []


def test_a_server_that_hangs_keeps_the_end_no_longer_than_without_a_spool(
    collector: Collector, path: Path
) -> None:
    collector.answer = lambda call: Reply(delay=threading.Event())
    ended = run(
        collector,
        """
        began = []
        # The first exit handler is the last to run.
        atexit.register(lambda: print((time.monotonic() - began[0]) / 3))
        init(shutdown_timeout=3)
        capture("E")
        began.append(time.monotonic())
        """,
        spool=path,
    )
    assert 0.9 < float(ended.out) < 2.0
    assert ended.status == 0
    # On a busy machine Sentry has something left to send itself, and says so.
    assert ended.err == "" or ended.err.startswith("Sentry is attempting to send")
    assert "message(s)" not in ended.err
    assert len(kept(path)) == 1


def test_an_error_in_an_exit_handler_is_delivered(collector: Collector, path: Path) -> None:
    ended = run(collector, "init(); atexit.register(capture, 'E')", spool=path)
    assert names(collector) == ["E"], ended.err
    assert kept(path) == []


def test_an_error_in_an_exit_handler_during_an_outage_is_left_to_the_next(
    collector: Collector, path: Path
) -> None:
    outage(collector)
    run(collector, "init(shutdown_timeout=0.5); atexit.register(capture, 'E')", spool=path)
    assert len(kept(path)) == 1
    # Released, and not only lapsed in half a minute.
    assert query(path, "SELECT holder FROM writers") == [(None,)]


def test_a_client_that_was_closed_does_not_touch_its_file_at_the_end(
    collector: Collector, path: Path
) -> None:
    ended = run(
        collector,
        """
        init()
        capture("E")
        sentry_sdk.get_client().close()
        wait_until(lambda: not [t for t in threading.enumerate() if "segment" in t.name])
        os.unlink(SPOOL)
        """,
        spool=path,
    )
    assert (ended.status, ended.err) == (0, "")
    assert names(collector) == ["E"]
    assert list(path.parent.iterdir()) == []


# Kills


def test_what_a_killed_process_had_spooled_is_sent_when_its_lease_has_lapsed(
    collector: Collector, init: Init, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.01)
    outage(collector)
    script = start(collector, SPOOLS_5, spool=path)
    assert script.line() == "spooled"
    script.kill()
    collector.answer = None

    integration = init(segment={"spool": path})
    capture()
    assert integration.flush(10.0)
    assert integration.stats.recovered == 0
    assert len(collector.messages) == 1
    let_leases_lapse(path)
    collector.wait_for_messages(6)
    assert names(collector) == ["ValueError", *FIVE]
    wait_until(lambda: integration.stats.spooled == 0)
    assert (integration.stats.recovered, integration.stats.delivered) == (5, 6)
    assert is_sound(path)


@pytest.mark.skipif(not begins_at_init, reason="this SDK does not tell an integration its options")
def test_a_process_that_captures_nothing_waits_for_the_lease_of_a_killed_one(
    collector: Collector, path: Path
) -> None:
    outage(collector)
    killed = start(collector, SPOOLS_5, spool=path)
    assert killed.line() == "spooled"
    killed.kill()
    collector.answer = None
    script = start(
        collector,
        """
        import sentry_segment.delivery.spooled
        sentry_segment.delivery.spooled._TEND_INTERVAL = 0.01
        integration = init()
        print("began", flush=True)
        told()
        """,
        spool=path,
    )
    assert script.line() == "began"
    let_leases_lapse(path)
    collector.wait_for_messages(5)
    assert names(collector) == FIVE


@pytest.mark.parametrize(
    ("status", "arrivals"),
    [(503, 1), (200, 2)],
    ids=["which was refused", "which was taken"],
)
def test_a_process_killed_during_a_request_loses_nothing(
    status: int, arrivals: int, collector: Collector, path: Path
) -> None:
    """A message that was taken is sent again. Segment knows it by its id."""
    go = hold(collector, status=status)
    script = start(collector, "init(); capture('E'); told()", spool=path)
    arrived(collector)
    script.kill()
    go.set()
    let_leases_lapse(path)
    ended = run(collector, SENDS_WHAT_WAS_LEFT, spool=path)
    assert ended.out == "1 1 0\n", ended.err
    sent = zip(names(collector), collector.messages, strict=True)
    ids = [message["messageId"] for name, message in sent if name == "E"]
    assert len(ids) == arrivals
    assert len(set(ids)) == 1
    assert kept(path) == []


# Many at once


def test_several_processes_on_one_file_deliver_each_message_once(
    collector: Collector, path: Path
) -> None:
    # On a busy machine, one may have the file locked for longer than the others wait for it, who
    # would then send from memory, before what they have in the file.
    script = """
        import sentry_segment.spool.sqlite_file
        sentry_segment.spool.sqlite_file._BUSY_TIMEOUT = 60.0
        integration = init(transport_queue_size=1_000)
        print("ready", flush=True)
        told()
        for n in range(200):
            capture(f"PROCESS-{n}")
        assert integration.flush(60.0)
        stats = integration.stats
        print(stats.mirrored, stats.delivered, stats.queued, stats.spooled, flush=True)
        told()
    """
    scripts = [
        start(collector, script.replace("PROCESS", str(process)), spool=path)
        for process in range(4)
    ]
    assert [each.line() for each in scripts] == ["ready"] * 4
    for each in scripts:
        each.tell()
    assert [each.line() for each in scripts] == ["200 200 0 0"] * 4
    expected = {f"{process}-{n}": 1 for process in range(4) for n in range(200)}
    assert Counter(names(collector)) == expected
    for process in range(4):
        own = [name for name in names(collector) if name.startswith(f"{process}-")]
        assert own == [f"{process}-{n}" for n in range(200)]
    for each in scripts:
        each.tell()
        ended = each.end()
        assert ended.status == 0, ended.err
        assert "spool" not in ended.err
    assert is_sound(path)
    assert kept(path) == []
