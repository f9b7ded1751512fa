"""The queue in Redis, or Valkey: shared by the processes of many machines, and outliving them."""

from __future__ import annotations

import hashlib
import random
import threading
import uuid
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sentry_segment.guest.foreign import from_signal_handler
from sentry_segment.spool import redis_scripts as scripts
from sentry_segment.spool.contract import (
    LEASE,
    Row,
    Spool,
    SpoolError,
    SpoolLostError,
    Turn,
    Waiting,
)
from sentry_segment.spool.redis_server import RedisServer
from sentry_segment.wire.bodies import MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, fits

# A message's id is made of its writer and of what its entry in the writer's stream has for one: its
# number there, and its length.
_NUMBER_BITS, _LENGTH_BITS = 40, 40
_NUMBER, _LENGTH = (1 << _NUMBER_BITS) - 1, (1 << _LENGTH_BITS) - 1

_AHEAD = 10.0  # seconds for which turns are given: one that ends meanwhile does not use its own
_LONGEST = 1e9  # seconds, in the place of what Lua can't read


P = ParamSpec("P")
T = TypeVar("T")


def _understood(
    method: Callable[Concatenate[RedisSpool, P], T],
) -> Callable[Concatenate[RedisSpool, P], T]:
    """A method for which an answer that no script gives is a `SpoolError` as any other."""

    @wraps(method)
    def called(self: RedisSpool, /, *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return method(self, *arguments, **named)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if from_signal_handler(error):
                raise  # in a thread of the application's
            raise self._server.misunderstood(error) from error

    return called


class RedisSpool(Spool):
    """The spool in a database of Redis's, for the processes of a fleet.

    See `Spool` for what its methods do. `max_bytes` bounds what all messages take there, `warn` is
    told of settings by which Redis may lose them, with the name of the problem and a text, and
    `now` is a clock in the place of Redis's own, in seconds.

    Each method is one script, which Redis runs as a whole, and one round trip.
    """

    def __init__(
        self,
        url: str,
        max_bytes: int,
        write_key: str,
        warn: Callable[[str, str], None],
        now: Callable[[], float] | None = None,
    ) -> None:
        self._server = RedisServer(url, warn)
        self.place = self._server.place
        self._max_bytes = max_bytes
        # Not the key itself: what is stored is to be of no use to whoever reads it.
        self._digest = hashlib.sha256(write_key.encode("utf-8", "replace")).hexdigest()
        self._now = now
        self._holder = uuid.uuid4().hex
        self._lock = threading.RLock()
        self._generation = ""  # of the spool that is in use
        self._writer: int | None = None
        self._top = 0  # the number of the writer's last message
        self._held: set[int] = set()

    @property
    def writer(self) -> int | None:
        """The one that messages are added under."""
        return self._writer

    @writer.setter
    def writer(self, value: int | None) -> None:
        self._writer, self._top = value, 0

    @_understood
    def add(self, bodies: Sequence[bytes]) -> int:
        """Append messages; returns how many of them, from the first on, had room.

        Where the answer got lost, the next call removes what this one has added.
        """
        generation = f"{scripts.FORMAT}:{uuid.uuid4().hex}"
        with self._lock:
            writer = "" if self._writer is None else self._writer
            given = (generation, writer, self._top, self._max_bytes, *bodies)
            found, top, added = self._run(scripts.ADD, *given)
            self._writer, self._top = int(found), int(top) + int(added)
            self._held.add(self._writer)
        return int(added)

    @_understood
    def read(self, writers: Collection[int], without: Collection[int]) -> list[Row]:
        """The oldest messages of these writers that fit into one batch, but for some by id."""
        left_out: dict[int, list[str]] = {writer: [] for writer in sorted(writers)}
        for each in without:
            writer, entry = _parts(each)
            if writer in left_out:
                left_out[writer].append(entry)
        given = [part for w, entries in left_out.items() for part in (w, len(entries), *entries)]
        (found,) = self._run(scripts.READ, MAX_BATCH_MESSAGES, MAX_BATCH_BYTES, *given)
        rows: list[Row] = []
        size = 0
        for name, entries in found:
            writer = int(name)
            for entry, body in entries:
                number, _, length = entry.partition(b"-")
                if writer == self._writer and int(number) > self._top:
                    break  # of a call of `add` whose answer got lost
                size += len(body)
                if rows and not fits(len(rows) + 1, size):
                    return rows
                rows.append(Row(_id(writer, int(number), int(length)), writer, body))
        return rows

    @_understood
    def delete(self, ids: Collection[int]) -> None:
        """Remove messages, whoever holds them by now."""
        self._run(scripts.DELETE, *(part for each in sorted(ids) for part in _parts(each)))

    @_understood
    def tend(self, writers: Collection[int]) -> tuple[dict[int, int], set[int]]:
        """Renew the lease of these writers, and claim others whose lease has lapsed.

        Returns the number of messages of each writer that was claimed, and those of `writers` that
        another process has claimed meanwhile.
        """
        with self._lock:
            found, gone = self._run(scripts.TEND, *sorted(writers))
            claimed = {int(writer): int(messages) for writer, messages in found}
            lost = {int(writer) for writer in gone}
            # One that was lost may be among the claimed, by now.
            self._held = self._held & {*writers, self._writer} - lost | claimed.keys()
        return dict(sorted(claimed.items())), lost

    @_understood
    def release(self) -> None:
        """Leave what this holder holds to the others, at once."""
        with self._lock:
            self._run(scripts.RELEASE, *sorted(self._held))
            self._held.clear()

    @_understood
    def has_messages(self) -> bool:
        """Whether there are messages for the write key, whoever holds them."""
        (found,) = self._run(scripts.HAS_MESSAGES)
        return bool(found)

    @_understood
    def survey(self) -> list[Waiting] | None:
        """All writers with messages, for every write key. `None` where there is no spool."""
        with self._lock:
            (found,) = self._run(scripts.SURVEY)
            if not self._generation:
                return None
        waiting = [
            Waiting(
                writer=int(writer),
                is_ours=digest.decode() == self._digest,
                messages=int(messages),
                size=int(size),
                oldest=oldest,
                lease=float(lease),
                is_own=bool(is_own),
            )
            for writer, digest, messages, size, oldest, lease, is_own in found
        ]
        return sorted(waiting, key=lambda each: each.writer)

    @_understood
    def turn(self, at_once: int, spacing: float, stretch: float) -> Turn:
        """When the next request of all holders with the write key is to be made."""
        given = (at_once, min(spacing, _LONGEST), min(stretch, _LONGEST), _AHEAD)
        seconds, is_given = self._run(scripts.TURN, *given)
        if is_given:
            return Turn(float(seconds), True)
        # Not all at once: there may be thousands who ask.
        return Turn(_AHEAD * random.uniform(0.5, 1.0), False)

    def disconnect(self) -> None:
        """Close the connection. The next use opens another."""
        self._server.disconnect()

    def close(self) -> None:
        """Close it, where this holder holds nothing. The next use begins anew."""
        with self._lock:
            self.disconnect()
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._generation = ""
        self.writer = None
        self._held.clear()

    def _run(self, script: scripts.Script, *arguments: Any) -> list[Any]:
        """What a script answers, but for the state and the generation."""
        keys = [scripts.TAG + name for name in ("meta", "keys")]
        keys += [f"{scripts.TAG}{name}:{self._digest}" for name in ("leases", "turns")]
        now = "" if self._now is None else self._now()
        with self._lock:
            common = (self._digest, self._holder, self._generation, LEASE, now)
            answer: list[Any]
            state, *answer = self._server.run(script, keys, (*common, *arguments))
            if state == b"lost":
                self._begin_anew()
                raise SpoolLostError(
                    f"The spool {self.place} was emptied while it was in use, with the messages in "
                    f"it: let Redis keep its data, and remove none of the keys {scripts.TAG}*"
                )
            if state == b"format":
                other = answer[0].decode().partition(":")[0]
                raise SpoolError(
                    f"The spool {self.place} has the format {other}, "
                    f"and this version of sentry-segment knows {scripts.FORMAT}: update "
                    f"sentry-segment, or give spool another database"
                )
            if state != b"ok":
                raise ValueError(state)
            self._generation = answer[0].decode()
        return answer[1:]


def _id(writer: int, number: int, length: int) -> int:
    return (writer << _NUMBER_BITS | number) << _LENGTH_BITS | length


def _parts(message: int) -> tuple[int, str]:
    """The writer, and the entry."""
    number, length = message >> _LENGTH_BITS & _NUMBER, message & _LENGTH
    return message >> _NUMBER_BITS + _LENGTH_BITS, f"{number}-{length}"
