"""Allowances of a session: token buckets on the room's own clock."""

from __future__ import annotations


class TokenBucket:
    """So many tokens a second, saved up to ``burst``. Source: Turner, "New directions in communications" (1986)."""

    __slots__ = ("_at_ms", "_tokens", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: int, now_ms: int) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._tokens = float(burst)
        self._at_ms = now_ms

    def take(self, tokens: int, now_ms: int) -> int:
        """Take ``tokens`` and return 0, or take none and return the milliseconds after which they will be there.

        More than ``burst`` at once is granted when the bucket is full: it would wait for ever otherwise.
        """
        self._fill(now_ms)
        wanted = tokens if tokens < self.burst else self.burst
        if self._tokens >= wanted:
            self._tokens -= tokens
            return 0
        return max(1, int((wanted - self._tokens) * 1000 / self.rate_per_s) + 1)

    def charge(self, tokens: float, now_ms: int) -> None:
        """Take ``tokens`` whether they are there or not; what is missing is owed."""
        self._fill(now_ms)
        self._tokens -= tokens

    def _fill(self, now_ms: int) -> None:
        if now_ms > self._at_ms:
            tokens = self._tokens + (now_ms - self._at_ms) * self.rate_per_s / 1000
            self._tokens = tokens if tokens < self.burst else float(self.burst)
            self._at_ms = now_ms
