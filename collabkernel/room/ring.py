"""The newest operations of a room, encoded once, for sessions that are a little behind."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import islice
from typing import NamedTuple


class RingEntry(NamedTuple):
    """What one flush sent."""

    first_seq: int
    last_seq: int
    part: bytes


class Ring:
    """Entries in seq order without gaps, the oldest dropped over ``bytes_max``."""

    __slots__ = ("_entries", "bytes_max", "size_bytes")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.size_bytes = 0
        self._entries: deque[RingEntry] | None = None
        """Made with the first: an empty one takes 760 bytes, in each room that nobody edits."""

    def add(self, entry: RingEntry) -> None:
        """Append the entry that follows the last one."""
        if self._entries is None:
            self._entries = deque()
        entries = self._entries
        assert not entries or entry.first_seq == entries[-1].last_seq + 1
        entries.append(entry)
        self.size_bytes += len(entry.part)
        while self.size_bytes > self.bytes_max and len(entries) > 1:
            self.size_bytes -= len(entries.popleft().part)

    def reaches(self, seq: int) -> bool:
        """Whether all that follows ``seq`` is here, and something does."""
        entries = self._entries
        return False if not entries else entries[0].first_seq <= seq + 1 <= entries[-1].last_seq

    def end_of(self, seq: int) -> int | None:
        """The last seq of the entry that ``seq`` is inside of, with some of it behind; None when it is in none."""
        entries = self._entries or ()
        at = bisect_right(entries, seq, key=lambda entry: entry.first_seq) - 1
        return entries[at].last_seq if at >= 0 and entries[at].last_seq > seq else None

    def since(self, seq: int, bytes_max: int) -> tuple[list[bytes], int] | None:
        """Parts that follow ``seq``, about ``bytes_max`` of them, and the seq that they reach.

        None when the ring does not begin there, or ``seq`` is inside an entry: then the log must be read.
        """
        entries = self._entries
        if not entries or seq + 1 < entries[0].first_seq:
            return None
        low = bisect_right(entries, seq, key=lambda entry: entry.first_seq)
        if low == len(entries) or entries[low].first_seq != seq + 1:
            return None
        parts: list[bytes] = []
        size_bytes = 0
        for entry in islice(entries, low, None):
            parts.append(entry.part)
            seq = entry.last_seq
            size_bytes += len(entry.part)
            if size_bytes >= bytes_max:
                break
        return parts, seq
