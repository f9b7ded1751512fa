"""What every spool promises its users; free of SQLite, which not every Python has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

LEASE = 30.0
"""Seconds for which a process that holds messages need not say that it is still there."""


class SpoolError(Exception):
    """The spool can't be used now. The text says why, and what to do."""


class SpoolFullError(SpoolError):
    """The place itself has no room, whatever the spool may take: nothing can be added now.

    What is there can be read and removed, which makes room.
    """


class SpoolLostError(SpoolError):
    """What was in the spool is gone: removed by somebody, or damaged and set aside.

    It is not sent. The next use begins anew.
    """


class Row(NamedTuple):
    """A message in the spool, encoded."""

    id: int
    writer: int
    body: bytes


class Waiting(NamedTuple):
    """What waits under one writer."""

    writer: int
    is_ours: bool
    """Whether it is for the write key that is asked for, and not for another."""
    messages: int
    size: int
    """Bytes of all of them, encoded."""
    oldest: bytes
    """The first of them."""
    lease: float
    """Seconds for which a process holds it yet; 0 where anybody may claim it."""
    is_own: bool
    """Whether it is the one that asks who holds it, or held it last."""


class Turn(NamedTuple):
    """When somebody's request is to be made."""

    seconds: float
    """How long it is until then."""
    is_given: bool
    """Whether the request is counted by now. Else it is to be asked for again then."""


class Spool(Protocol):
    """A holder of messages for one write key, in a place that outlives its process.

    Any number of holders, in any number of processes, share a place. Each makes a `Spool` of its
    own. The rules are the same whatever the place is made of, and `tests/spool/test_contract*.py`
    hold every kind of spool to them:

    - Messages are added under a writer. Each holder begins one for itself, with its first message.
    - A writer is held under a lease of `LEASE` seconds. Its holder renews it by adding messages
      and by tending it.
    - A lease that is not renewed lapses, and one that is released has lapsed at once. Who next
      tends with the same write key claims the writer, with all its messages: one holder, and
      never one with another key. A holder that comes first may still renew a lease that lapsed,
      but not one that it released.
    - Who lost a writer to another is told when it tends it, and begins another with its next
      message.
    - So a message may be read, and sent, by two processes, where one was stopped for longer than a
      lease. What either deletes is gone for both.
    - A writer's messages keep their order. The number of a writer or of a message is never used
      twice, not even after what was there was lost: nobody deletes another's message by mistake.

    Leases run by a clock that all holders have in common, and that nobody sets. One that runs for
    longer than a lease can, by that clock, was given before the clock began anew: it has lapsed.

    Numbers of writers and messages are for the spool alone to understand. An added message outlives
    the process. With the machine, those of the last second may be lost.

    May be used from any thread, by several at once. No call waits for others for more than a second
    or so. Nothing is connected to the place before the first call, and no connection is used by two
    processes: a forked one makes spools of its own. The write key itself is not stored. Who may
    read what is stored is the place's to say: of a file, its owner alone.

    All methods but `disconnect` and `close` raise `SpoolError`. What failed may be tried again
    later. They raise `SpoolLostError`, once, where they notice that what this holder has there is
    gone.
    """

    place: str
    """A path or a URL, for people to read: without a password."""
    writer: int | None
    """The one that messages are added under, if there is one by now. Set it to `None`, and the
    next message begins another."""

    def add(self, bodies: Sequence[bytes]) -> int:
        """Append messages, in one step, and renew the lease.

        Returns how many of them, from the first on, were added. The others had no room: that is
        bounded for all holders together.
        """

    def read(self, writers: Collection[int], without: Collection[int]) -> list[Row]:
        """The oldest messages of these writers that fit into one request, but for some by id.

        Empty where there are no others. Each writer's are in their order, one writer's after the
        other's. Leaves them where they are.
        """

    def delete(self, ids: Collection[int]) -> None:
        """Remove messages, one at the least, whoever holds them by now. Some may be gone."""

    def tend(self, writers: Collection[int]) -> tuple[dict[int, int], set[int]]:
        """Renew the leases of these writers, and claim others whose lease has lapsed.

        Returns the number of messages of each writer that was claimed, and those of `writers` that
        another holder has claimed meanwhile. One without messages is never claimed.
        """

    def release(self) -> None:
        """Leave all that this holder holds to the others, at once."""

    def has_messages(self) -> bool:
        """Whether there are messages for the write key, whoever holds them. Creates nothing."""

    def survey(self) -> list[Waiting] | None:
        """All writers with messages, for every write key where the place can tell.

        `None` where there is no spool at the place. Creates, claims and renews nothing. For people,
        and not for the way of a message: it may read all that is there.
        """

    def turn(self, at_once: int, spacing: float, stretch: float) -> Turn | None:
        """When the next request to Segment may be made, of all holders with the write key together.

        `at_once` requests may follow each other at once, others `spacing` seconds after the latest,
        or `stretch` seconds after the one so many before. `None` where the place keeps no such
        account: each holder limits itself.
        """

    def disconnect(self) -> None:
        """Leave the connection. The next use makes another, and goes on."""

    def close(self) -> None:
        """Leave the connection, where this holder holds nothing. The next use begins anew: with
        another writer, and with whatever is in the place then."""
