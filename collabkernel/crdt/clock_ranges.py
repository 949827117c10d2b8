"""Sets of Yjs clocks, kept as disjoint ranges: which items of a document are deleted."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class ClockRanges:
    """Clocks by client. A range is its first clock and the clock behind its last."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}

    def add(self, client: int, start: int, end: int) -> None:
        """Put a range in, joined with those that it meets; O(log n) and a move of the list behind it."""
        starts = self._starts.setdefault(client, [])
        ends = self._ends.setdefault(client, [])
        first = bisect_left(ends, start)
        last = bisect_right(starts, end)
        if first < last:
            start = min(start, starts[first])
            end = max(end, ends[last - 1])
        starts[first:last] = [start]
        ends[first:last] = [end]

    def has(self, client: int, clock: int) -> bool:
        """Whether a clock is in."""
        starts = self._starts.get(client)
        if starts is None:
            return False
        index = bisect_right(starts, clock) - 1
        return index >= 0 and clock < self._ends[client][index]

    def missing(self, client: int, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of a range that are not in."""
        starts = self._starts.get(client)
        if starts is None:
            return [(start, end)]
        ends = self._ends[client]
        found = []
        index = bisect_right(ends, start)
        while start < end and index < len(starts) and starts[index] < end:
            if start < starts[index]:
                found.append((start, starts[index]))
            start = ends[index]
            index += 1
        if start < end:
            found.append((start, end))
        return found

    def to_dict(self) -> dict[int, list[tuple[int, int]]]:
        """All ranges by client."""
        return {client: list(zip(starts, self._ends[client], strict=True)) for client, starts in self._starts.items()}
