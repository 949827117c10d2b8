"""Who saw which edit when: noted in a few steps a frame, counted exactly afterwards.

An edit carries a *mark*, ``<number>``. A frame goes to hundreds of readers as the same bytes, so its marks are looked
for once, and a reader who gets it notes one number: when. What was delivered, and how late, is put together from those
notes at the end; a reader who gets an edit twice, in a merged update and in a state, has seen it the first time.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

MARK = re.compile(rb"<(\d+)>")
TICKS_PER_S = 4_000
"""A quarter of a millisecond: far below what is told of latencies, and few enough to be counted instead of kept."""
UNMARKED_MAX = 50_000
"""Frames without a mark that are remembered as such, so that they are not searched for each reader."""
NEVER = -1

Find = Callable[[bytes], Sequence[int]]


class _Frame(NamedTuple):
    marks: Sequence[int]
    at: array[int]
    """By reader: the tick at which it came, or ``NEVER``."""


class Seen(NamedTuple):
    """What was seen of a range of edits by all but their authors."""

    delivered: int
    expected: int
    visible_ms: list[float]
    """Percentiles 0, 1 to 100 of sent to seen; empty when nothing was."""


def marks_in(data: bytes) -> list[int]:
    """The edits in what a frame holds."""
    return [int(number) for number in MARK.findall(data)]


def mark(number: int) -> str:
    """What the edit of this number writes."""
    return f"<{number}>"


class Tally:
    """The notes of all readers."""

    def __init__(self, readers: int, find: Find = marks_in) -> None:
        self._find = find
        self._empty = array("i", [NEVER]) * readers
        self._frames: dict[bytes, _Frame] = {}
        self._unmarked: set[bytes] = set()
        self._sent: dict[int, tuple[int, int]] = {}
        """By edit: its author and the tick at which it was sent."""
        self.noted = 0
        """Marks in the frames that came, with repetitions: never less than what was seen."""

    def sent(self, number: int, author: int, tick: int) -> None:
        """An edit goes out now."""
        self._sent[number] = author, tick

    def note(self, reader: int, frame: bytes, tick: int) -> bool:
        """A frame has come; return whether it shows anything."""
        found = self._frames.get(frame)
        if found is None:
            found = None if frame in self._unmarked else self._read(frame)
            if found is None:
                return False
        if found.at[reader] == NEVER:
            found.at[reader] = tick
            self.noted += len(found.marks)
        return True

    def _read(self, frame: bytes) -> _Frame | None:
        marks = self._find(frame)
        if marks:
            found = self._frames[frame] = _Frame(tuple(set(marks)), self._empty[:])
            return found
        if len(self._unmarked) < UNMARKED_MAX:
            self._unmarked.add(frame)
        return None

    # ------------------------------------------------------------ afterwards

    def seen(self, first: int, end: int) -> Seen:
        """What was seen of the edits ``first`` to ``end - 1``."""
        late: Counter[int] = Counter()
        counted: dict[int, Counter[int]] = {}
        for author, sent, at in self._notes(first, end):
            ticks = counted.get(id(at))
            if ticks is None:
                ticks = counted[id(at)] = Counter(at)
            for tick, readers in ticks.items():
                if tick != NEVER:
                    late[tick - sent] += readers
            if at[author] != NEVER:
                late[at[author] - sent] -= 1
        delivered = sum(late.values())
        return Seen(delivered, self.expected(first, end), _percentiles(late, delivered))

    def expected(self, first: int, end: int) -> int:
        """Those edits, times all but their authors."""
        return sum(first <= number < end for number in self._sent) * (len(self._empty) - 1)

    def delivered(self, first: int, end: int) -> int:
        """What ``seen`` counts, without the latencies: a hundredth of its time."""
        return sum(len(at) - at.count(NEVER) - (at[author] != NEVER) for author, _, at in self._notes(first, end))

    def seen_by_others(self) -> set[int]:
        """The edits that somebody but their author was shown."""
        found: set[int] = set()
        for number, frames in self._frames_by_edit().items():
            author = self._sent[number][0]
            readers = {reader for frame in frames for reader, tick in enumerate(frame.at) if tick != NEVER}
            if readers - {author}:
                found.add(number)
        return found

    def shown(self) -> set[int]:
        """All edits that somebody was shown, whoever sent them."""
        return {number for frame in self._frames.values() for number in frame.marks}

    def _frames_by_edit(self) -> dict[int, list[_Frame]]:
        found: dict[int, list[_Frame]] = {}
        for frame in self._frames.values():
            for number in frame.marks:
                if number in self._sent:
                    found.setdefault(number, []).append(frame)
        return found

    def _notes(self, first: int, end: int) -> list[tuple[int, int, array[int]]]:
        """Of each edit its author, when it was sent, and by reader when it came first."""
        found: list[tuple[int, int, array[int]]] = []
        for number, frames in self._frames_by_edit().items():
            if first <= number < end:
                author, sent = self._sent[number]
                at = frames[0].at if len(frames) == 1 else _first([frame.at for frame in frames])
                found.append((author, sent, at))
        return found


def _first(notes: Sequence[array[int]]) -> array[int]:
    """By reader, when the first of several frames came."""
    by_reader = zip(*notes, strict=True)
    return array("i", [min([tick for tick in ticks if tick != NEVER], default=NEVER) for ticks in by_reader])


def _percentiles(late: Counter[int], total: int) -> list[float]:
    found: list[float] = []
    below = 0
    for tick, count in sorted(late.items()):
        below += count
        while len(found) <= 100 and below > min(total - 1, total * len(found) // 100):
            found.append(tick * 1000 / TICKS_PER_S)
    return found
