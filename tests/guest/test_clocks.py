"""Clocks that others move: libraries that freeze or shift time for tests, and a system clock that
is set. In processes of their own, which these libraries patch as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector import Call, Collector, Reply
from scripts import Ended, names, run
from sqlite_spools import kept, leave, track
from support import some

FREEZERS = {
    "freezegun": "moved = freezegun.freeze_time",
    "freezegun, ticking": "moved = functools.partial(freezegun.freeze_time, tick=True)",
    "time-machine": "moved = time_machine.travel",
    "time-machine, frozen": "moved = functools.partial(time_machine.travel, tick=False)",
}
moved = pytest.mark.parametrize(
    ("freezer", "date"),
    [
        pytest.param(FREEZERS[name], date, id=f"{name}, {date}")
        for name, date in [
            ("freezegun", "1971-01-01"),
            ("freezegun", "2090-01-01"),
            ("freezegun, ticking", "1971-01-01"),
            ("time-machine", "2090-01-01"),
            ("time-machine, frozen", "1971-01-01"),
        ]
    ],
)


def process(collector: Collector, freezer: str, script: str, spool: Path | None = None) -> Ended:
    """Run a script that can say `with moved(date)`, and knows the `real` time, in seconds."""
    beginning = f"""
    import functools, freezegun, time_machine
    {freezer}
    real = lambda: os.times().elapsed  # which none of them moves
    """
    return run(collector, beginning + script, spool=spool)


@some
@moved
def test_a_flush_in_moved_time_is_back_and_the_mirror_goes_on_after_it(
    freezer: str, date: str, collector: Collector
) -> None:
    collector.answer = lambda call: Reply(503) if "inside" in str(call.json) else None
    ended = process(
        collector,
        freezer,
        f"""
    import random
    random.random = lambda: 0.01
    integration = init(shutdown_timeout=0)
    with moved({date!r}):
        capture("inside")
        began = real()
        assert integration.flush(0.3) is False
        sentry_sdk.flush(0.3)
        print("is back" if real() - began < 20 else "late")
        capture("inside")
    capture("after")
    wait_until(lambda: integration.stats.delivered)
    print(integration.stats.delivered)
    """,
    )
    assert ended.out == "is back\n1\n", ended.err


@some
@moved
def test_what_failed_in_moved_time_is_tried_again_in_it_and_after_it(
    freezer: str, date: str, collector: Collector
) -> None:
    collector.answer = lambda call: None if call.headers.get("x-retry-count") else Reply(503)
    ended = process(
        collector,
        freezer,
        f"""
    integration = init()
    with moved({date!r}):
        capture("first")
        until = real() + 30
        while integration.stats.delivered < 1 and real() < until:
            pass
        capture("second")
    wait_until(lambda: integration.stats.delivered == 2)
    """,
    )
    assert ended.status == 0, ended.err
    assert names(collector) == ["first", "second"]


@some
@moved
def test_a_rate_limit_and_a_retry_after_hold_in_moved_time(
    freezer: str, date: str, collector: Collector
) -> None:
    told: list[Call] = []

    def answer(call: Call) -> Reply | None:
        told.append(call)
        return Reply(429, {"Retry-After": "1"}) if len(told) == 1 else None

    collector.answer = answer
    ended = process(
        collector,
        freezer,
        f"""
    integration = init(segment={{"rate_limit": (1, 0.5)}})
    with moved({date!r}):
        for name in ("a", "b", "c"):
            capture(name)
            integration.flush(0.1)
    wait_until(lambda: integration.stats.delivered == 3)
    """,
    )
    assert ended.status == 0, ended.err
    assert sorted(names(collector)) == ["a", "b", "c"]
    # The limit is a least: a busy machine makes it more.
    assert told[1].arrived - told[0].arrived >= 0.99


@some
@moved
def test_a_lease_does_not_lapse_and_one_that_has_is_claimed_in_moved_time(
    freezer: str, date: str, collector: Collector, tmp_path: Path
) -> None:
    spool = tmp_path / "spool.db"
    leave(spool, track("left"))
    collector.answer = lambda call: Reply(503) if "alive" in str(call.json) else None
    ended = process(
        collector,
        freezer,
        f"""
    from sentry_segment.spool.sqlite import SqliteSpool

    integration = init(shutdown_timeout=0)
    with moved({date!r}):
        capture("alive")
        wait_until_real = lambda done: [None for _ in iter(done, True)]
        wait_until_real(lambda: integration.stats.delivered == 1)
    held = [
        SqliteSpool(SPOOL, 10**8, "{{}}".format(integration._options.write_key)).tend([])
        for moment in (0, 1)
    ]
    with moved({date!r}):
        held.append(SqliteSpool(SPOOL, 10**8, integration._options.write_key).tend([]))
    print(held)
    """,
        spool=spool,
    )
    assert ended.out == f"{[({}, set())] * 3}\n", ended.err
    assert [message["messageId"] for message in collector.messages] == ["left"]
    assert [each["properties"]["exceptionType"] for each in kept(spool)] == ["alive"]


def test_an_import_in_frozen_time_finds_the_real_clock(collector: Collector) -> None:
    ended = run(
        collector,
        """
    from freezegun import freeze_time

    for name in [name for name in sys.modules if name.startswith("sentry_segment")]:
        del sys.modules[name]
    with freeze_time("2030-01-01"):
        from sentry_segment.guest.clock import monotonic
        before = monotonic()
        while monotonic() == before:
            pass
    print("goes on")
    """,
    )
    assert ended.out == "goes on\n", ended.err
