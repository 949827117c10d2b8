"""Where the characters of a Yjs text are, by the names that they keep for ever: the client and clock that typed them.

That is what Yjs calls relative positions, without a side: an anchor names a character, and says where that stands, or
stood before it was deleted. pycrdt's ``StickyIndex`` does not do: with offsets in UTF-8, as our ropes have them, it
takes bytes for clocks, names wrong characters behind one that is not ASCII, and panics on those it does not find.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from collabkernel.crdt.yjs.order import YjsOrder
from collabkernel.crdt.yjs.policy import EMBED, STRING, Reference, YjsPolicy
from collabkernel.crdt.yjs.structs import ParsedUpdate, read_update


class _Run(NamedTuple):
    """Clocks of one client that stand together, all shown or all not."""

    at: int
    """The index of its first character, or what it would have."""
    client: int
    start: int
    end: int
    is_shown: bool


class Anchors:
    """Names and indices of the characters of one text as it is now; embeds count as one, as in ``TextRope``."""

    def __init__(self, state: bytes, order: YjsOrder, policy: YjsPolicy) -> None:
        """Read a text: O(its items).

        Args:
            state: Its contents as one update.
            order: Of its items.
            policy: What it may hold.
        """
        parsed = read_update(state, policy, None)
        self._lows: dict[int, list[int]] = {}
        for client, clock in parsed.contents.lows:
            self._lows.setdefault(client, []).append(clock)
        for lows in self._lows.values():
            lows.sort()
        self._runs: list[_Run] = []
        self._shown: list[_Run] = []
        hidden = _hidden(parsed)
        at = 0
        for client, start, length in order.to_list():
            for first, end, is_shown in _cut(start, start + length, hidden.get(client, [])):
                run = _Run(at, client, first, end, is_shown)
                self._runs.append(run)
                if is_shown:
                    self._shown.append(run)
                    at += end - first - self._lows_between(client, first, end)
        self._by_clock = sorted(self._runs, key=lambda run: run[1:3])

    def name_at(self, index: int) -> Reference:
        """The name of the character at an index.

        Raises:
            IndexError: There is none.
        """
        found = bisect_right(self._shown, index, key=lambda run: run.at) - 1
        if index >= 0 and found >= 0:
            run = self._shown[found]
            clock = run.start + index - run.at
            for low in self._lows.get(run.client, ())[bisect_left(self._lows.get(run.client, ()), run.start) :]:
                if low > clock:
                    break
                clock += 1
            if clock < run.end:
                return run.client, clock
        raise IndexError(f"{index} is outside this text")

    def find(self, name: Reference) -> tuple[int, bool] | None:
        """The index of a character, and whether it is there: else where it stood. None for one that never was."""
        client, clock = name
        found = bisect_right(self._by_clock, (client, clock), key=lambda run: run[1:3]) - 1
        run = self._by_clock[found] if found >= 0 else None
        if run is None or run.client != client or not run.start <= clock < run.end:
            return None
        if not run.is_shown:
            return run.at, False
        return run.at + clock - run.start - self._lows_between(client, run.start, clock + 1), True

    def authors(self) -> list[tuple[int, int]]:
        """The text as (client, characters) of those who typed it, in order; neighbours of one client are one."""
        found: list[tuple[int, int]] = []
        for run in self._shown:
            chars = run.end - run.start - self._lows_between(run.client, run.start, run.end)
            if found and found[-1][0] == run.client:
                chars += found.pop()[1]
            found.append((run.client, chars))
        return found

    def _lows_between(self, client: int, start: int, end: int) -> int:
        """Second halves of surrogate pairs among some clocks: a pair is two clocks and one character."""
        lows = self._lows.get(client)
        return 0 if lows is None else bisect_left(lows, end) - bisect_left(lows, start)


def _hidden(parsed: ParsedUpdate) -> dict[int, list[tuple[int, int]]]:
    """Clocks that show nothing (deleted ones, and marks of formats) by client, as ranges that rise."""
    found = {client: list(ranges) for client, ranges in parsed.deletes.items()}
    for client, structs in parsed.structs.items():
        ranges = found.setdefault(client, [])
        ranges += [(each.clock, each.clock + each.length) for each in structs if each.kind not in (STRING, EMBED)]
    return {client: _joined(sorted(ranges)) for client, ranges in found.items()}


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges without overlaps: what is deleted may be told twice."""
    found: list[tuple[int, int]] = []
    for start, end in ranges:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _cut(start: int, end: int, hidden: list[tuple[int, int]]) -> list[tuple[int, int, bool]]:
    """A stretch of clocks in pieces that are shown or not."""
    pieces: list[tuple[int, int, bool]] = []
    index = max(bisect_right(hidden, (start, start)) - 1, 0)
    while start < end:
        while index < len(hidden) and hidden[index][1] <= start:
            index += 1
        first, last = hidden[index] if index < len(hidden) else (end, end)
        if first > start:
            pieces.append((start, min(first, end), True))
        if first < end:
            pieces.append((max(first, start), min(last, end), False))
        start = min(last, end) if first < end else end
    return pieces
