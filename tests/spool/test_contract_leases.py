"""The leases that every kind of spool keeps to: what is held by one is not taken by another."""

from __future__ import annotations

import pytest

from sentry_segment.spool.contract import LEASE
from spool_kinds import NOTHING, Place, at_once, begin, bodies, delete, read

# Leases


def test_a_writer_is_claimed_whole_when_its_lease_has_lapsed_and_not_before(place: Place) -> None:
    dead, alive = place.spool(), place.spool()
    writer = begin(dead, b"1", b"2")
    place.let_pass(LEASE - 0.5)
    assert alive.tend([]) == NOTHING
    place.let_pass(0.5)
    assert alive.tend([]) == ({writer: 2}, set())
    assert bodies(alive, writer) == [b"1", b"2"]
    assert alive.tend([writer]) == NOTHING


def test_what_was_claimed_is_held_by_a_lease_like_ones_own(place: Place) -> None:
    dead, first, second = (place.spool() for _ in range(3))
    writer = begin(dead, b"1")
    place.let_pass(LEASE)
    assert first.tend([]) == ({writer: 1}, set())
    place.let_pass(LEASE - 0.5)
    assert second.tend([]) == NOTHING
    assert first.tend([writer]) == NOTHING
    place.let_pass(LEASE - 0.5)
    assert second.tend([]) == NOTHING
    place.let_pass(0.5)
    assert second.tend([]) == ({writer: 1}, set())
    assert first.tend([writer]) == ({}, {writer})


def test_all_writers_that_lapsed_are_claimed_at_once(place: Place) -> None:
    writers = [begin(place.spool(), *[b"1"] * n) for n in (1, 2, 3)]
    place.let_pass(LEASE)
    assert place.spool().tend([]) == (dict(zip(writers, (1, 2, 3), strict=True)), set())
    assert place.spool().tend([]) == NOTHING


@pytest.mark.parametrize("renewed_by", ["tending", "adding", "adding what has no room"])
def test_a_lease_is_renewed_by_whoever_holds_it(renewed_by: str, place: Place) -> None:
    alive, other = place.spool(max_bytes=100_000), place.spool()
    writer = begin(alive, b"1")
    for _ in range(3):
        place.let_pass(LEASE - 0.5)
        if renewed_by == "tending":
            assert alive.tend([writer]) == NOTHING
        else:
            alive.add([b"2" * (1 if renewed_by == "adding" else 200_000)])
        assert alive.writer == writer
        place.let_pass(LEASE - 0.5)
        assert other.tend([]) == NOTHING
        assert alive.tend([writer]) == NOTHING


def test_a_lease_is_not_renewed_by_reading_and_deleting(place: Place) -> None:
    idle, other = place.spool(), place.spool()
    writer = begin(idle, b"1", b"2")
    place.let_pass(LEASE - 0.5)
    delete(idle, read(idle, writer)[:1])
    assert idle.has_messages()
    place.let_pass(0.5)
    assert other.tend([]) == ({writer: 1}, set())


def test_a_lease_that_lapsed_is_renewed_by_its_holder_who_comes_first(place: Place) -> None:
    slow, other = place.spool(), place.spool()
    writer = begin(slow, b"1")
    place.let_pass(10 * LEASE)
    assert slow.tend([writer]) == NOTHING
    assert other.tend([]) == NOTHING
    place.let_pass(10 * LEASE)
    assert begin(slow, b"2") == writer
    assert other.tend([]) == NOTHING


def test_what_was_released_is_claimed_at_once(place: Place) -> None:
    dead, ended, alive, other = (place.spool() for _ in range(4))
    claimed = begin(dead, b"1")
    place.let_pass(LEASE)
    own, theirs = begin(ended, b"2"), begin(alive, b"3")
    assert ended.tend([own]) == ({claimed: 1}, set())
    ended.release()
    assert other.tend([]) == ({claimed: 1, own: 1}, set())
    assert other.tend([claimed, own]) == NOTHING
    assert alive.tend([theirs]) == NOTHING


def test_one_that_released_goes_on_with_another_writer(place: Place) -> None:
    spool, other = place.spool(), place.spool()
    released = begin(spool, b"1")
    spool.release()
    assert begin(spool, b"2") != released
    assert other.tend([]) == ({released: 1}, set())
    assert bodies(other, released) == [b"1"]


def test_one_that_lost_its_writer_learns_so_and_begins_another(place: Place) -> None:
    slow, quick = place.spool(), place.spool()
    lost = begin(slow, b"1")
    place.let_pass(LEASE)
    assert quick.tend([]) == ({lost: 1}, set())
    assert slow.tend([lost]) == ({}, {lost})
    another = begin(slow, b"2")
    assert another != lost
    assert slow.tend([another]) == NOTHING
    assert bodies(quick, lost) == [b"1"]
    assert bodies(slow, another) == [b"2"]


def test_one_that_claims_back_what_it_lost_leaves_it_in_the_end(place: Place) -> None:
    slow, quick, other = (place.spool() for _ in range(3))
    writer = begin(slow, b"1")
    place.let_pass(LEASE)
    assert quick.tend([]) == ({writer: 1}, set())
    place.let_pass(LEASE)
    assert slow.tend([writer]) == ({writer: 1}, {writer})
    slow.release()
    assert other.tend([]) == ({writer: 1}, set())


def test_one_that_lost_its_writer_and_was_not_told_adds_nothing_to_it(place: Place) -> None:
    slow, quick = place.spool(), place.spool()
    lost = begin(slow, b"1")
    place.let_pass(LEASE)
    quick.tend([])
    assert begin(slow, b"2") != lost
    assert bodies(quick, lost) == [b"1"]


def test_what_is_deleted_while_another_holds_it_is_gone_for_both(place: Place) -> None:
    slow, quick = place.spool(), place.spool()
    lost = begin(slow, b"1", b"2")
    under_way = read(slow, lost)[:1]
    place.let_pass(LEASE)
    assert quick.tend([]) == ({lost: 2}, set())
    delete(slow, under_way)
    assert bodies(quick, lost) == [b"2"]
    assert quick.tend([lost]) == NOTHING


def test_one_whose_writer_is_set_to_none_begins_another_and_holds_both(place: Place) -> None:
    spool, other = place.spool(), place.spool()
    first = begin(spool, b"1")
    spool.writer = None
    second = begin(spool, b"2")
    assert second != first
    place.let_pass(LEASE)
    assert spool.tend([first, second]) == NOTHING
    assert other.tend([]) == NOTHING
    spool.release()
    assert other.tend([]) == ({first: 1, second: 1}, set())


def test_a_writer_without_messages_is_never_claimed(place: Place) -> None:
    dead, alive = place.spool(), place.spool()
    writer = begin(dead, b"1")
    delete(dead, read(dead, writer))
    place.let_pass(LEASE)
    assert alive.tend([]) == NOTHING
    assert bodies(dead, begin(dead, b"2")) == [b"2"]


def test_another_write_keys_messages_are_never_claimed(place: Place) -> None:
    theirs, ours = place.spool("their key"), place.spool("our key")
    writer = begin(theirs, b"1")
    for _ in range(2):
        place.let_pass(100 * LEASE)
        assert ours.tend([]) == NOTHING
        assert not ours.has_messages()
        assert theirs.has_messages()
        theirs.release()
    assert place.spool("their key").tend([]) == ({writer: 1}, set())


def test_numbers_are_never_used_twice(place: Place) -> None:
    """One that was stopped for a while deletes nobody else's message when it goes on."""
    stopped, other = place.spool(), place.spool()
    first = begin(stopped, b"1")
    under_way = read(stopped, first)
    place.let_pass(LEASE)
    other.tend([])
    delete(other, read(other, first))
    place.let_pass(LEASE)
    other.tend([])  # which may forget the writer now
    second = begin(other, b"2")
    assert second != first
    delete(stopped, under_way)
    assert bodies(other, second) == [b"2"]


def test_of_two_that_claim_at_once_only_one_gets_it(place: Place) -> None:
    writer = begin(place.spool(), b"1")
    place.let_pass(LEASE)
    both = [place.spool() for _ in range(2)]
    claimed = at_once(*(lambda spool=spool: spool.tend([])[0] for spool in both))
    assert sorted(claimed, key=len) == [{}, {writer: 1}]
