"""For how long the oldest message waits, without a time for each."""

from __future__ import annotations

_MOST = 1000  # notes; past it, half as many in the same time are enough


class Ages:
    """Notes now and then how many messages there have been by then.

    A message is as old as the first note that counts it: so a capture need not look at the clock.
    To be called with the lock of the counters held.
    """

    def __init__(self) -> None:
        # How many messages there were by which time. Never changed, but replaced: what interrupts,
        # as a signal handler may, finds it whole.
        self._notes: tuple[tuple[int, float], ...] = ()
        self._noted = 0
        self._spacing = 0.0  # seconds between two notes at the least
        self._recovered_since: float | None = None

    def note(self, accepted: int, settled: int, has_recovered: bool, now: float) -> None:
        """Of the messages ever put, how many of them are settled, from the first on, and whether
        other processes' wait too."""
        notes = self._notes
        if notes and notes[0][0] <= settled:
            notes = tuple(each for each in notes if each[0] > settled)
        if not notes:
            self._spacing = 0.0
        is_new = accepted > max(self._noted, settled)
        if is_new and (not notes or now >= notes[-1][1] + self._spacing):
            self._noted = accepted
            notes += ((accepted, now),)
        if len(notes) > _MOST:
            self._spacing = 2 * (now - notes[0][1]) / _MOST
            notes = notes[::2]  # with the first
        self._notes = notes
        if not has_recovered:
            self._recovered_since = None
        elif self._recovered_since is None:
            self._recovered_since = now

    def oldest(self, now: float) -> float:
        """Seconds that the oldest of them has waited; 0 where none does."""
        since = [time for _, time in self._notes[:1]]
        if self._recovered_since is not None:
            since.append(self._recovered_since)
        return now - min(since) if since else 0.0
