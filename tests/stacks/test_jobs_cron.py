"""A script as cron runs it: it ends right after its errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import Collector, Reply
from stacks.arrivals import Mirrored, mirrored, texts_of
from stacks.processes import Process, Stack, stack


@pytest.fixture
def machine(collector: Collector, tmp_path: Path) -> Iterator[Stack]:
    with stack(collector, tmp_path) as running:
        yield running


def invoices(
    machine: Stack, *customers: str, head: str = "id,amount", **environment: str
) -> Process:
    """Start the script with `ID,AMOUNT` of some customers."""
    file = machine.folder / "customers.csv"
    file.write_text("\n".join([head, *customers]))
    return machine.start("cron_script/invoices.py", str(file), **environment)


def wrong(user: str) -> Mirrored:
    text = "[<class 'decimal.ConversionSyntax'>]"
    return Mirrored(user, "InvalidOperation", text, "invoices")


NO_AMOUNT = "conversion from NoneType to Decimal is not supported"


def test_what_is_captured_arrives_though_the_script_ends_at_once(
    machine: Stack, collector: Collector
) -> None:
    process = invoices(machine, "6", "7,nothing", "8,10.5", "9,")
    assert process.end() == 1
    assert "8: 10.50" in process.output
    no_amount = Mirrored("6", "TypeError", NO_AMOUNT, "invoices")
    assert sorted(mirrored(collector), key=str) == sorted(
        [no_amount, wrong("7"), wrong("9")], key=str
    )


def test_an_error_between_two_customers_is_nobodys(machine: Stack, collector: Collector) -> None:
    process = invoices(machine, "7,nothing", f"{200_000 * '8'},10")
    assert process.end() == 1
    assert "field larger than field limit" in process.output  # as without the SDK
    assert len(collector.events) == 2
    assert mirrored(collector) == [wrong("7")]


def test_the_end_waits_for_a_segment_that_is_slow(machine: Stack, collector: Collector) -> None:
    asked = threading.Event()

    def slow(call: object) -> Reply:
        threading.Timer(0.5, asked.set).start()
        return Reply(delay=asked)

    collector.answer = slow
    assert invoices(machine, "7,nothing").end() == 1
    assert mirrored(collector) == [wrong("7")]


def test_with_a_spool_the_next_run_delivers_what_segment_did_not_take(
    machine: Stack, collector: Collector
) -> None:
    spool = str(machine.folder / "spool.db")
    collector.answer = lambda call: Reply(503)
    assert invoices(machine, "7,nothing", SEGMENT_SPOOL=spool).end() == 1
    assert not collector.messages
    collector.answer = None
    assert invoices(machine, "8,1", SEGMENT_SPOOL=spool).end() == 0
    assert mirrored(collector) == [wrong("7")]


def test_without_a_spool_the_script_says_what_is_lost(machine: Stack, collector: Collector) -> None:
    collector.answer = lambda call: Reply(503)
    process = invoices(machine, "7,nothing")
    assert process.end() == 1
    assert "1 message(s) could not be delivered to Segment" in process.output
    assert texts_of(collector.events).total() == 1  # Sentry has it
