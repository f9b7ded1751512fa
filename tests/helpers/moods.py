"""Segment, in a mood that changes every second or so."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from collector import Call, Collector, Reply


class MoodyCollector(Collector):
    """Fails in every way it knows, one after the other. Keeps ids alone: a trial may be long."""

    MOODS: tuple[tuple[str, int], ...] = (
        ("up", 5),
        ("500", 1),
        ("503 at times", 2),
        ("429 with Retry-After", 1),
        ("resets", 1),
        ("takes it, then resets", 1),
        ("never answers", 1),
        ("down", 2),
    )

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.arrived: Counter[str] = Counter()
        self.moods: Counter[str] = Counter()
        self.mood = "up"
        self._count = threading.Lock()
        self._over = threading.Event()
        self._released = threading.Event()
        self._moody = threading.Thread(target=self._change_moods, name="moods")

    @contextmanager
    def moody(self) -> Iterator[None]:
        """Have its mood change, until the end of the block."""
        self._moody.start()
        try:
            yield
        finally:
            self._over.set()
            self._moody.join()

    def _change_moods(self) -> None:
        moods, weights = zip(*self.MOODS, strict=True)
        while not self._over.is_set():
            [self.mood] = self.random.choices(moods, weights)
            self.moods[self.mood] += 1
            if self.mood == "down":
                self.stop()
            self._over.wait(self.random.uniform(0.2, 2.0))
            if self.mood == "down":
                self.start()
            self.mood = "up"
            released, self._released = self._released, threading.Event()
            released.set()

    def take_call(self, call: Call) -> Reply:
        mood = self.mood
        if mood == "never answers":
            return Reply(0, delay=self._released)
        if mood in ("500", "resets"):
            return Reply(500 if mood == "500" else 0)
        if mood == "429 with Retry-After":
            return Reply(429, {"Retry-After": "1"})
        if mood == "503 at times" and self.random.random() < 0.5:
            return Reply(503)
        messages = call.json.get("batch", [call.json])
        with self._count:
            self.arrived.update(message["messageId"] for message in messages)
        return Reply(0) if mood == "takes it, then resets" else Reply()
