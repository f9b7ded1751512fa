"""What every kind of spool promises, asked of each through the interface alone.

Here a process is a `Spool`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from sentry_segment.spool.contract import LEASE, Row, Spool, SpoolError, SpoolLostError
from spool_kinds import NOTHING, Place, at_once, begin, bodies, delete, read

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


def test_one_that_fits_into_no_request_is_in_nobodys_way(place: Place) -> None:
    """It is read by itself, to be refused."""
    spool = place.spool()
    writers = begin(spool, b"1", b"x" * 600_000, b"2"), begin(place.spool(), b"3")
    read_so_far: list[bytes] = []
    while rows := read(spool, *writers):
        read_so_far += [row.body for row in rows]
        delete(spool, rows)
    assert read_so_far == [b"1", b"x" * 600_000, b"2", b"3"]


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
