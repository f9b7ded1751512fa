"""The accounts of what is not settled: what a flush waits for, and what stats show."""

from __future__ import annotations

from sentry_segment.delivery.encoded import Encoded
from sentry_segment.delivery.ledger import Ledger
from sentry_segment.spool.contract import Row

OWN, OTHERS = 7, 8  # writers


def spooled(ledger: Ledger, writer: int, *ids: int) -> list[Encoded]:
    """Messages as they are read from the spool, and handed out."""
    rows = [Row(number, writer, b"{}") for number in ids]
    messages = [Encoded(row.body, row=row, is_own=ledger.is_own(writer)) for row in rows]
    ledger.hand_out(messages)
    return messages


def in_memory(ledger: Ledger, number: int) -> list[Encoded]:
    messages = [Encoded(b"{}") for _ in range(number)]
    ledger.hand_out(messages)
    return messages


def test_what_is_settled_counts_once_all_that_is_older_is() -> None:
    ledger = Ledger()
    first, *others = in_memory(ledger, 3)
    ledger.settle(others)
    assert ledger.settled == 0
    ledger.settle([first])
    assert ledger.settled == 3


def test_what_overtakes_the_spool_counts_once_that_is_empty() -> None:
    ledger = Ledger()
    ledger.spool(OWN, added=2, dropped=0)
    ledger.settle(in_memory(ledger, 3))
    assert (ledger.settled, ledger.in_spool) == (0, 2)
    ledger.settle(spooled(ledger, OWN, 1, 2))
    assert (ledger.settled, ledger.in_spool) == (5, 0)


def test_what_was_read_is_unread_no_more() -> None:
    ledger = Ledger()
    ledger.spool(OWN, added=2, dropped=1)
    ledger.claim({OTHERS: 1})
    batches = [spooled(ledger, OWN, 1), spooled(ledger, OTHERS, 3)]
    unread = [ledger.has_unread]
    batches.append(spooled(ledger, OWN, 2))
    unread.append(ledger.has_unread)
    assert unread == [True, False]
    assert sorted(ledger.out) == [1, 2, 3]
    for batch in batches:
        ledger.settle(batch)
    assert (ledger.out, ledger.writers, ledger.in_spool) == ([], [], 0)
    assert (ledger.settled, ledger.recovered) == (3, 1)


def test_anothers_writer_is_forgotten_once_all_of_it_is_settled() -> None:
    """There may be thousands of them, one after the other."""
    ledger = Ledger()
    ledger.spool(OWN, added=1, dropped=0)
    ledger.claim({OTHERS: 2})
    ledger.settle(spooled(ledger, OTHERS, 3))
    ledger.settle(spooled(ledger, OWN, 1))
    assert ledger.all_writers == [OWN, OTHERS]
    ledger.settle(spooled(ledger, OTHERS, 4))
    assert ledger.all_writers == [OWN]


def test_what_is_lost_to_another_is_settled_but_for_what_is_on_its_way() -> None:
    ledger = Ledger()
    ledger.spool(OWN, added=5, dropped=0)
    batch = spooled(ledger, OWN, 1, 2)
    assert ledger.lose([OWN]) == 3
    assert (ledger.settled, ledger.in_spool) == (3, 2)
    assert ledger.out == []
    ledger.settle(batch)
    assert (ledger.settled, ledger.in_spool) == (5, 0)


def test_what_was_lost_and_is_claimed_back_counts_as_anothers() -> None:
    """Even where the first try, from before, is still on its way, and it is lost once more."""
    ledger = Ledger()
    ledger.spool(OWN, added=1, dropped=0)
    batches = [spooled(ledger, OWN, 1)]
    for claimed in (1, 2):
        ledger.lose([OWN])
        ledger.claim({OWN: 1})
        assert (ledger.recovered, ledger.in_spool) == (claimed, claimed + 1)
        batches.append(spooled(ledger, OWN, 1))
    newest = in_memory(ledger, 1)
    for batch in reversed(batches):
        assert ledger.settled == 0
        ledger.settle(batch)
    assert (ledger.settled, ledger.in_spool) == (0, 0)  # as the newest is on its way
    ledger.settle(newest)
    assert ledger.settled == 2
