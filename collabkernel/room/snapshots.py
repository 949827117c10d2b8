"""When a room's next snapshot is due: after so many operations, so long or so much, but not too often."""

from __future__ import annotations

from collabkernel.limits import Limits

ROW_BYTES = 200
"""What a row of the log takes in a database beside its payload: its other columns, and its entry in an index."""
SPILL_BYTES = 480
"""A longer payload has pages of its own in SQLite, where the log is a B-tree of 4 KiB pages."""
PAGE_BYTES = 4096


def log_bytes_of(payload_bytes: int) -> int:
    """What an operation takes on a disk, about: one of 600 bytes takes a page."""
    if payload_bytes <= SPILL_BYTES:
        return ROW_BYTES + payload_bytes
    return ROW_BYTES + -(-payload_bytes // PAGE_BYTES) * PAGE_BYTES


class SnapshotClock:
    """How far the newest snapshot is behind."""

    __slots__ = ("_at_ms", "_begun_bytes", "_has_failed", "_limits", "_log_bytes", "is_writing", "seq")

    def __init__(self, seq: int, limits: Limits, now_ms: int, log_bytes: int = 0) -> None:
        self.seq = seq
        """Of the newest snapshot that is known to be stored."""
        self._limits = limits
        self._at_ms = now_ms
        self._log_bytes = log_bytes
        """What the log behind the newest snapshot takes; stays 0 in rooms that do not count it."""
        self._begun_bytes = 0
        self._has_failed = False
        self.is_writing = False
        """One is under way."""

    def grew(self, log_bytes: int) -> None:
        """The log has grown by operations that take so much."""
        self._log_bytes += log_bytes

    def is_long(self, head: int, state_bytes: int = 0) -> bool:
        """Whether so much was stored since the newest that another is worth its while."""
        return head - self.seq >= self._limits.snapshot_ops or self._is_heavy(head, state_bytes)

    def is_worth_it(self, head: int, *, purged_seq: int = 0, state_bytes: int = 0) -> bool:
        """Whether to write one before the room ends: what was purged goes from the database by that alone.

        Not once it has failed: the log has everything.
        """
        return not self._has_failed and (self.is_long(head, state_bytes) or purged_seq > self.seq)

    def is_due(self, head: int, now_ms: int, state_bytes: int = 0) -> bool:
        """Whether to write one now."""
        limits, since_ms = self._limits, now_ms - self._at_ms
        is_old = head > self.seq and since_ms >= limits.snapshot_age_ms
        is_long = self.is_long(head, state_bytes) and since_ms >= limits.snapshot_min_interval_ms
        is_heavy = self._is_heavy(head, state_bytes) and since_ms >= self._heavy_interval_ms
        return (is_old or is_long or is_heavy) and not self.is_writing

    def due_ms(self, head: int, state_bytes: int) -> int | None:
        """When to look again though nothing happens, because of the log's size."""
        if self.is_writing or not self._is_heavy(head, state_bytes):
            return None
        return self._at_ms + self._heavy_interval_ms

    def _is_heavy(self, head: int, state_bytes: int) -> bool:
        return head > self.seq and self._log_bytes >= max(self._limits.snapshot_log_bytes, state_bytes)

    @property
    def _heavy_interval_ms(self) -> int:
        limits = self._limits
        return limits.snapshot_min_interval_ms if self._has_failed else limits.snapshot_log_interval_ms

    def begin(self, now_ms: int) -> None:
        """One is being written."""
        self.is_writing = True
        self._at_ms = now_ms
        self._begun_bytes = self._log_bytes

    def saved(self, seq: int) -> None:
        """It is written, or failed: then ``seq`` is 0."""
        self.is_writing = False
        self._has_failed = seq == 0
        if seq:
            self._log_bytes -= self._begun_bytes
        self.seq = max(self.seq, seq)
