"""What every kind of spool promises, asked of each through the interface alone.

Here a process is a `Spool`. Where another kind is added, it is one more of the `KINDS`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest

from sentry_segment.spool.contract import LEASE, Row, Spool, SpoolError, SpoolLostError, Waiting
from sentry_segment.spool.sqlite import SqliteSpool
from sqlite_spools import MAX_BYTES
from support import WRITE_KEY


class Place(Protocol):
    """Where spools of one kind are, empty at first."""

    def spool(self, key: str = WRITE_KEY, max_bytes: int = MAX_BYTES) -> Spool:
        """As another process makes one."""

    def let_pass(self, seconds: float) -> None:
        """Have the clock of the leases go on."""

    def exists(self) -> bool:
        """Whether anything is there."""

    def out_of_use(self) -> AbstractContextManager[None]:
        """For a while, no spool can be used."""

    def remove(self) -> None:
        """What is there is gone."""


class Sqlite:
    """A file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sentry_segment.spool.sqlite_file._BUSY_TIMEOUT", 0.1)
        self._path = folder / "spool.db"
        self._now = 1_000_000.0

    def spool(self, key: str = WRITE_KEY, max_bytes: int = MAX_BYTES) -> Spool:
        return SqliteSpool(str(self._path), max_bytes, key, now=lambda: self._now)

    def let_pass(self, seconds: float) -> None:
        self._now += seconds

    def exists(self) -> bool:
        return any(self._path.parent.iterdir())

    @contextmanager
    def out_of_use(self) -> Iterator[None]:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            yield
            db.execute("ROLLBACK")

    def remove(self) -> None:
        for each in self._path.parent.iterdir():
            each.unlink()


KINDS: list[Callable[[Path, pytest.MonkeyPatch], Place]] = [Sqlite]


@pytest.fixture(params=KINDS)
def place(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made: Place = request.param(tmp_path, monkeypatch)
    return made


def begin(spool: Spool, *bodies: bytes) -> int:
    """Add messages; returns the writer."""
    assert spool.add(bodies) == len(bodies)
    assert spool.writer is not None
    return spool.writer


def read(spool: Spool, *writers: int, without: list[Row] | None = None) -> list[Row]:
    return spool.read(writers, without=[row.id for row in without or []])


def bodies(spool: Spool, *writers: int) -> list[bytes]:
    return [row.body for row in read(spool, *writers)]


def delete(spool: Spool, rows: list[Row]) -> None:
    spool.delete([row.id for row in rows])


NOTHING: Any = ({}, set())  # claimed, and lost


# Messages


def test_a_writers_messages_are_read_in_their_order_and_stay_where_they_are(place: Place) -> None:
    spool = place.spool()
    assert spool.writer is None
    writer = begin(spool, b"1", b"2")
    assert begin(spool, b"3") == writer
    for _ in range(2):
        assert read(spool, writer) == [
            Row(row.id, writer, body)
            for row, body in zip(read(spool, writer), [b"1", b"2", b"3"], strict=True)
        ]
    assert len({row.id for row in read(spool, writer)}) == 3


def test_bodies_are_kept_byte_by_byte(place: Place) -> None:
    given = [b"", b"\0", bytes(range(256)), "ünï 😀".encode(), b"x" * 32_768]
    writer = begin(place.spool(), *given)
    assert bodies(place.spool(), writer) == given


def test_only_what_was_asked_for_is_read(place: Place) -> None:
    first, second = place.spool(), place.spool()
    writers = begin(first, b"1-1", b"1-2"), begin(second, b"2-1", b"2-2")
    assert writers[0] != writers[1]
    assert bodies(first, writers[1]) == [b"2-1", b"2-2"]
    assert bodies(first) == []
    rows = read(first, *writers)
    assert [row.body for row in read(first, *writers, without=rows[1:3])] == [b"1-1", b"2-2"]
    assert read(first, *writers, without=rows) == []
    assert read(first, max(writers) + 1) == []


def test_one_read_is_what_fits_into_one_request(place: Place) -> None:
    spools = [place.spool() for _ in range(2)]
    writers = [
        begin(spool, *(b"%d-%d" % (n, m) + b"x" * 30_000 for m in range(10)))
        for n, spool in enumerate(spools)
    ]
    expected = {writer: [b"%d-%d" % (n, m) for m in range(10)] for n, writer in enumerate(writers)}
    rows = read(spools[0], *reversed(writers))
    assert len(rows) == 16
    rest = read(spools[0], *writers, without=rows)
    assert len(rest) == 4
    for writer in writers:
        of_writer = [row.body[:3] for row in rows + rest if row.writer == writer]
        assert of_writer == expected[writer]
    many = place.spool()
    assert len(read(many, begin(many, *[b"1"] * 3_000))) == 2_500


def test_what_was_deleted_is_gone_for_all_and_nothing_else_is(place: Place) -> None:
    spool, other = place.spool(), place.spool()
    writer = begin(spool, *(b"%d" % n for n in range(6)))
    theirs = begin(other, b"theirs")
    rows = read(spool, writer)
    delete(spool, [rows[0], rows[2], rows[5]])
    assert bodies(other, writer, theirs) == [b"1", b"3", b"4", b"theirs"]
    delete(spool, rows)  # some of which are gone already
    assert bodies(other, writer, theirs) == [b"theirs"]


def test_past_its_bytes_the_first_messages_are_added_and_the_rest_is_not(place: Place) -> None:
    spool = place.spool(max_bytes=200_000)
    given = [b"%02d" % n + b"x" * 9_998 for n in range(40)]
    added = spool.add(given)
    assert 5 <= added <= 20
    assert spool.writer is not None
    rows = read(spool, spool.writer)
    assert [row.body for row in rows] == given[:added]
    assert spool.add(given[:1]) == 0
    delete(spool, rows)
    assert spool.add(given[:5]) == 5


def test_the_bytes_are_those_of_all_holders_together(place: Place) -> None:
    given = [b"x" * 10_000] * 40
    added = place.spool(max_bytes=200_000).add(given)
    assert place.spool(max_bytes=200_000).add(given) <= 1
    assert place.spool("another key", max_bytes=200_000).add(given) <= 1
    assert place.spool(max_bytes=400_000).add(given) >= added


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


# The place


def test_a_look_creates_nothing(place: Place) -> None:
    spool = place.spool()
    assert not spool.has_messages()
    spool.disconnect()
    spool.close()
    assert not place.exists()


def test_whether_there_are_messages_is_known_to_all_with_the_key(place: Place) -> None:
    spool, other = place.spool(), place.spool()
    writer = begin(spool, b"1")
    assert spool.has_messages()
    assert other.has_messages()
    assert not place.spool("another key").has_messages()
    delete(spool, read(spool, writer))
    assert not spool.has_messages()
    assert not other.has_messages()


def test_one_that_disconnected_goes_on(place: Place) -> None:
    spool = place.spool()
    writer = begin(spool, b"1")
    for _ in range(2):
        spool.disconnect()
    assert bodies(spool, writer) == [b"1"]
    spool.disconnect()
    assert begin(spool, b"2") == writer
    assert spool.tend([writer]) == NOTHING


def test_one_that_closed_begins_anew_with_what_is_there_then(place: Place) -> None:
    spool = place.spool()
    writer = begin(spool, b"1")
    delete(spool, read(spool, writer))
    for _ in range(2):
        spool.close()
        assert spool.writer is None
    place.remove()  # which is not a loss then
    another = begin(spool, b"2")
    assert another != writer
    assert bodies(spool, another) == [b"2"]


def test_what_is_there_outlives_whoever_put_it_there(place: Place) -> None:
    spool = place.spool()
    writer = begin(spool, b"1")
    spool.disconnect()
    del spool
    place.let_pass(LEASE)
    another = place.spool()
    assert another.tend([]) == ({writer: 1}, set())
    assert bodies(another, writer) == [b"1"]


METHODS: dict[str, Callable[[Spool, int], Any]] = {
    "add": lambda spool, writer: spool.add([b"2"]),
    "delete": lambda spool, writer: spool.delete([1]),
    "tend": lambda spool, writer: spool.tend([writer]),
    "release": lambda spool, writer: spool.release(),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_what_failed_did_nothing_and_can_be_done_later(
    method: Callable[[Spool, int], Any], place: Place
) -> None:
    spool = place.spool()
    writer = begin(spool, b"1")
    with place.out_of_use(), pytest.raises(SpoolError) as raised:
        method(spool, writer)
    assert not isinstance(raised.value, SpoolLostError)
    assert spool.place in str(raised.value)
    assert bodies(spool, writer) == [b"1"]
    assert spool.tend([writer]) == NOTHING
    method(spool, writer)


@pytest.mark.parametrize(
    "method",
    [*METHODS.values(), lambda spool, writer: spool.read([writer], without=[])],
    ids=[*METHODS, "read"],
)
def test_where_everything_is_removed_all_begins_anew(
    method: Callable[[Spool, int], Any], place: Place
) -> None:
    spool = place.spool()
    lost = begin(spool, b"1")
    under_way = read(spool, lost)
    place.remove()
    with suppress(SpoolLostError):  # once, where that is noticed
        method(spool, lost)
    method(spool, lost)
    writer = begin(spool, b"3")
    assert writer != lost
    delete(spool, under_way)
    assert bodies(spool, writer)[-1:] == [b"3"]


# Threads


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What calls give, each in a thread of its own."""
    start = threading.Barrier(len(calls))
    given: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        start.wait()
        given[number] = calls[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return given


def test_of_two_that_claim_at_once_only_one_gets_it(place: Place) -> None:
    writer = begin(place.spool(), b"1")
    place.let_pass(LEASE)
    both = [place.spool() for _ in range(2)]
    claimed = at_once(*(lambda spool=spool: spool.tend([])[0] for spool in both))
    assert sorted(claimed, key=len) == [{}, {writer: 1}]


def test_one_spool_is_used_by_two_threads(place: Place) -> None:
    spool = place.spool()

    def use(letter: bytes) -> set[int | None]:
        writers = set()
        for n in range(20):
            spool.add([letter + b"%d" % n])
            writers.add(spool.writer)
            if n % 5 == 4:
                spool.disconnect()
        return writers

    [writers, others] = at_once(lambda: use(b"a"), lambda: use(b"b"))
    assert writers == others == {spool.writer}
    found = bodies(spool, spool.writer or 0)
    for letter in (b"a", b"b"):
        of_thread = [body for body in found if body.startswith(letter)]
        assert of_thread == [letter + b"%d" % n for n in range(20)]
    assert len(found) == 40


def test_two_holders_add_at_once_each_under_its_own(place: Place) -> None:
    both = [place.spool() for _ in range(2)]

    def use(spool: Spool) -> list[bytes]:
        for n in range(20):
            spool.add([b"%d" % n])
        return bodies(spool, spool.writer or 0)

    found = at_once(*(lambda spool=spool: use(spool) for spool in both))
    assert found == [[b"%d" % n for n in range(20)]] * 2


# The survey


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
