"""When to try again: exponential back-off with full jitter (Brooker, "Exponential Backoff and Jitter", AWS, 2015)."""

from __future__ import annotations

from typing import Protocol


class Chance(Protocol):
    """A source of chance, such as ``random.Random``."""

    def uniform(self, a: float, b: float) -> float:
        """A number between the two."""


class Backoff:
    """The waits between tries."""

    def __init__(self, min_ms: int, max_ms: int, rng: Chance) -> None:
        self._min_ms = min_ms
        self._max_ms = max_ms
        self._rng = rng
        self._tries = 0

    def reset(self) -> None:
        """A try went well."""
        self._tries = 0

    def next_ms(self, at_least_ms: int = 0) -> int:
        """How long to wait now: anything up to a bound that doubles each time, above what the server asked for."""
        bound = min(self._max_ms, self._min_ms * 2 ** min(self._tries, 30))
        self._tries += 1
        return at_least_ms + int(self._rng.uniform(0, bound))
