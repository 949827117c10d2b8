"""When a room's next snapshot is due: after so many operations or so long, but not too often."""

from __future__ import annotations

from collabkernel.limits import Limits


class SnapshotClock:
    """How far the newest snapshot is behind."""

    __slots__ = ("_at_ms", "_limits", "_seq", "is_writing")

    def __init__(self, seq: int, limits: Limits, now_ms: int) -> None:
        self._seq = seq
        self._limits = limits
        self._at_ms = now_ms
        self.is_writing = False
        """One is under way."""

    def is_long(self, head: int) -> bool:
        """Whether so much was stored since the newest that another is worth its while."""
        return head - self._seq >= self._limits.snapshot_ops

    def is_due(self, head: int, now_ms: int) -> bool:
        """Whether to write one now."""
        since_ms = now_ms - self._at_ms
        is_old = head > self._seq and since_ms >= self._limits.snapshot_age_ms
        is_long = self.is_long(head) and since_ms >= self._limits.snapshot_min_interval_ms
        return (is_old or is_long) and not self.is_writing

    def begin(self, now_ms: int) -> None:
        """One is being written."""
        self.is_writing = True
        self._at_ms = now_ms

    def saved(self, seq: int) -> None:
        """It is written, or failed: then ``seq`` is 0."""
        self.is_writing = False
        self._seq = max(self._seq, seq)
