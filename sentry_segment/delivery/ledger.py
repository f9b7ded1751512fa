"""The accounts of what is not settled yet: whose it is, where it is, and what overtook what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sentry_segment.delivery.encoded import Encoded


class Ledger:
    """Numbers of messages, and nothing else. No I/O, no lock of its own.

    All that changes them, but `hand_out` and `take_back`, is to be called with the lock of the
    counters held.
    """

    def __init__(self) -> None:
        self._settled = 0
        self._overtaking = 0  # messages settled before older ones that are in the spool
        self._recovered = 0
        # Own messages that are handed out, and those settled while older ones were.
        self._on_the_way = 0
        self._ahead = 0
        # By writer: how many messages in the spool this process has to send, its own and others';
        # and which of them are handed out, by id.
        self._held: dict[int, int] = {}
        self._out: dict[int, set[int]] = {}
        self._adrift = 0  # messages that were handed out when their writer was lost
        self._own: int | None = None  # the writer that the own messages are added under

    @property
    def settled(self) -> int:
        """How many of the messages put in this process, from the first on, are settled; or fewer,
        for a while.

        Messages in memory may overtake those in the spool, while that can't be used or is full, and
        any message may overtake one that Segment fails at: they do not count before these are
        settled as well.
        """
        ahead = self._ahead if self._on_the_way else 0
        return self._settled - max(ahead, self._overtaking if self._holds_own() else 0)

    @property
    def recovered(self) -> int:
        """Messages of other processes that this one has taken over."""
        return self._recovered

    @property
    def in_spool(self) -> int:
        """Messages in the spool that this process is going to send."""
        return sum(list(self._held.values())) + self._adrift

    @property
    def has_recovered(self) -> bool:
        """Whether some of those are other processes'."""
        held = list(self._held.items())
        return any(messages and not self.is_own(writer) for writer, messages in held)

    @property
    def has_unread(self) -> bool:
        """Whether there are messages in the spool that are yet to be handed out."""
        held = self._held.items()
        return any(messages > len(self._out.get(writer, ())) for writer, messages in held)

    @property
    def writers(self) -> list[int]:
        """Those with messages in the spool that this process has to send."""
        return [writer for writer, messages in self._held.items() if messages]

    @property
    def all_writers(self) -> list[int]:
        """Those, and those of which all was sent."""
        return list(self._held)

    @property
    def out(self) -> list[int]:
        """Ids of the messages that are handed out, and are still for this process to send."""
        return [row for rows in self._out.values() for row in rows]

    def is_own(self, writer: int) -> bool:
        """Whether the messages of this process are added under it."""
        return writer == self._own

    def hand_out(self, messages: Sequence[Encoded]) -> None:
        """Messages are on their way, from memory or from the spool."""
        for each in messages:
            if each.row is not None:
                self._out.setdefault(each.row.writer, set()).add(each.row.id)
            self._on_the_way += each.is_own

    def take_back(self, messages: Sequence[Encoded]) -> None:
        """Messages that were handed out from memory wait there again."""
        self._on_the_way -= len(messages)

    def settle(self, batch: Sequence[Encoded]) -> None:
        """Messages that were handed out are delivered, or given up."""
        own = 0
        for each in batch:
            own += each.is_own
            row = each.row
            if row is None:
                self._overtaking += 1
            elif row.id in self._out.get(row.writer, ()):
                self._out[row.writer].remove(row.id)
                self._held[row.writer] -= 1
                if not self._held[row.writer] and row.writer != self._own:
                    del self._held[row.writer], self._out[row.writer]  # it is never heard of again
            else:
                self._adrift -= 1
        self._settled += own
        self._on_the_way -= own
        self._ahead = self._ahead + own if self._on_the_way else 0
        if not self._holds_own():
            self._overtaking = 0

    def spool(self, writer: int, added: int, dropped: int) -> None:
        """Own messages have moved to the spool; those that had no room there are settled."""
        if writer != self._own:
            if self._own is not None:
                self.lose([self._own])
            self._own = writer
            self._held[writer] = 0
        self._held[writer] += added
        self._settled += dropped
        self._overtaking += dropped

    def claim(self, claimed: Mapping[int, int]) -> None:
        """Others' writers, each with so many messages, are for this process to send."""
        for writer, messages in claimed.items():
            self._held[writer] = messages
            self._recovered += messages

    def lose(self, writers: Collection[int]) -> int:
        """Messages are no longer for this process to send, but for those on their way.

        Returns how many of them were its own.
        """
        own = 0
        for writer in writers:
            # Where the writer can be claimed back, they are handed out once more.
            on_their_way = len(self._out.pop(writer, ()))
            self._adrift += on_their_way
            messages = self._held.pop(writer, 0) - on_their_way
            if writer != self._own:
                self._recovered -= messages
                continue
            self._settled += messages
            own += messages
            self._own = None
        return own

    def forget_writers(self) -> None:
        """This process holds nothing in the spool any more."""
        self._held.clear()
        self._own = None

    def _holds_own(self) -> bool:
        return self._own is not None and self._held.get(self._own, 0) > 0
