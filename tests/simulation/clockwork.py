"""Virtual time: what happens later is due at a millisecond, and things due at once happen in the order they came."""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush

START_MS = 1_700_000_000_000


class Clockwork:
    """The time of a simulated world, and all its chance, from one seed."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        self.now_ms = START_MS
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0

    def at(self, due_ms: int, what: Callable[[], object]) -> None:
        """Do something at a time; now, if that is past."""
        self._count += 1
        heappush(self._due, (max(due_ms, self.now_ms), self._count, what))

    def after(self, delay_ms: int, what: Callable[[], object]) -> None:
        """Do something later."""
        self.at(self.now_ms + delay_ms, what)

    def soon(self, mean_ms: int, what: Callable[[], object]) -> None:
        """Do something after a random while: mostly soon, now and then after a multiple of the mean."""
        self.after(int(self.rng.expovariate(1 / mean_ms)), what)

    def step(self) -> bool:
        """Let the next thing happen; False when there is none."""
        if not self._due:
            return False
        self.now_ms, _, what = heappop(self._due)
        what()
        return True
