"""The chance of a simulated history, and what happened in it: counted by kind for people, and as a digest of all."""

from __future__ import annotations

import random
from collections import Counter
from hashlib import sha256


class Chronicle:
    """Of one history."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        self.faults: Counter[str] = Counter(histories=1)
        """By kind; and how many histories they are of."""
        self.counts: Counter[str] = Counter()
        self._digest = sha256()

    def happened(self, fault: str, *details: object) -> None:
        """Something went wrong."""
        self.faults[fault] += 1
        self.note(fault, *details)

    def count(self, kind: str, by: int = 1) -> None:
        """Something happened that is nobody's fault."""
        self.counts[kind] += by

    def note(self, *what: object) -> None:
        """Something is part of the history."""
        self._digest.update(repr(what).encode())

    @property
    def digest(self) -> str:
        """The same for the same history."""
        return self._digest.hexdigest()
