"""What every kind of spool tells of what waits in it, without touching it."""

from __future__ import annotations

from sentry_segment.spool.contract import LEASE, Waiting
from spool_kinds import Place, begin, delete, read


def test_a_survey_of_nothing_finds_nothing_and_makes_nothing(place: Place) -> None:
    assert place.spool().survey() is None
    assert not place.exists()


def test_a_survey_tells_what_waits_under_each_writer_and_for_how_long_it_is_held(
    place: Place,
) -> None:
    first, second = place.spool(), place.spool()
    one, two = begin(first, b"1-1", b"1-22"), begin(second, b"2-1")
    place.let_pass(10)
    begin(second, b"2-2")
    assert place.spool().survey() == [
        Waiting(one, True, 2, 7, b"1-1", LEASE - 10, False),
        Waiting(two, True, 2, 6, b"2-1", LEASE, False),
    ]
    assert [each.is_own for each in second.survey() or ()] == [False, True]
    second.release()
    assert [each.is_own for each in second.survey() or ()] == [False, False]
    delete(first, read(first, one)[:1])
    assert place.spool().survey() == [
        Waiting(one, True, 1, 4, b"1-22", LEASE - 10, False),
        Waiting(two, True, 2, 6, b"2-1", 0, False),
    ]
    place.let_pass(LEASE - 10)
    assert [each.lease for each in place.spool().survey() or ()] == [0, 0]


def test_a_survey_claims_and_renews_nothing(place: Place) -> None:
    spool = place.spool()
    writer = begin(spool, b"1")
    place.let_pass(LEASE)
    another = place.spool()
    another.survey()
    assert another.writer is None
    assert place.spool().tend([]) == ({writer: 1}, set())


def test_a_survey_has_no_writer_without_messages(place: Place) -> None:
    spool = place.spool()
    writer = begin(spool, b"1")
    delete(spool, read(spool, writer))
    assert spool.survey() == []


def test_a_survey_tells_other_keys_messages_apart(place: Place) -> None:
    """Where it shows them at all."""
    begin(place.spool("another key"), b"1")
    ours = begin(place.spool(), b"2")
    survey = place.spool().survey() or []
    assert [each.writer for each in survey if each.is_ours] == [ours]
    assert all(each.messages == 1 for each in survey)
