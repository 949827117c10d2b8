"""What changed between two sequences, and between two texts. Pure.

Lines are anchored by those that stand once in both (patience diff, Cohen 2003). What is between anchors goes through
Myers' greedy algorithm (1986) up to a bound, above which it counts as replaced: a diff
is then longer than it must be, never wrong, and its time is bounded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

MYERS_EDITS_MAX = 400
"""Its time and memory grow with the square of this: about 50 ms."""
_TOKEN = re.compile(r"\w+|\s|[^\w\s]")


class Change(NamedTuple):
    """``a[start:end]`` became ``b[other_start:other_end]``."""

    start: int
    end: int
    other_start: int
    other_end: int


class Edit(NamedTuple):
    """The characters from ``start`` to ``end`` become ``text``."""

    start: int
    end: int
    text: str


def changes(a: Sequence[Hashable], b: Sequence[Hashable], *, anchored: bool = True) -> list[Change]:
    """What makes ``b`` of ``a``, in order; between two changes nothing differs.

    Args:
        a: The older one.
        b: The newer one.
        anchored: Whether an element that stands once in both is the same one: so for lines, not so for words.
    """
    found: list[Change] = []
    regions = [Change(0, len(a), 0, len(b))]
    while regions:
        region = _trimmed(a, b, regions.pop())
        if region.start == region.end or region.other_start == region.other_end:
            if region.start != region.end or region.other_start != region.other_end:
                found.append(region)
            continue
        anchors = _anchors(a, b, region) if anchored else []
        if anchors:
            regions.extend(reversed(_between(region, anchors)))
        else:
            found.extend(_myers(a, b, region))
    return _joined(found)


def text_edits(old: str, new: str) -> list[Edit]:
    """The edits that make ``new`` of ``old``, in order: by lines, then words, each cut to what differs."""
    old_lines, new_lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
    starts = _starts(old_lines)
    edits: list[Edit] = []
    for line_change in changes(old_lines, new_lines):
        before = "".join(old_lines[line_change.start : line_change.end])
        after = "".join(new_lines[line_change.other_start : line_change.other_end])
        edits.extend(_word_edits(before, after, starts[line_change.start]))
    return edits


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """The text after edits that ``text_edits`` found."""
    for edit in reversed(edits):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def similarity(a: str, b: str) -> float:
    """How much of the longer one is a common beginning and end: 1 for equal ones, 0 for those that share neither."""
    longest = max(len(a), len(b))
    if longest == 0:
        return 1.0
    prefix, suffix = _common_ends(a, b)
    return (prefix + suffix) / longest


def _word_edits(before: str, after: str, offset: int) -> Iterator[Edit]:
    old_words, new_words = _TOKEN.findall(before), _TOKEN.findall(after)
    starts = _starts(old_words)
    for change in changes(old_words, new_words, anchored=False):
        old = "".join(old_words[change.start : change.end])
        new = "".join(new_words[change.other_start : change.other_end])
        prefix, suffix = _common_ends(old, new)
        start = offset + starts[change.start]
        yield Edit(start + prefix, start + len(old) - suffix, new[prefix : len(new) - suffix])


def _starts(parts: Sequence[str]) -> list[int]:
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part))
    return starts


def _common_ends(a: str, b: str) -> tuple[int, int]:
    """How many characters at the beginning, and then at the end, are the same."""
    shortest = min(len(a), len(b))
    prefix = 0
    while prefix < shortest and a[prefix] == b[prefix]:
        prefix += 1
    suffix = 0
    while suffix < shortest - prefix and a[-1 - suffix] == b[-1 - suffix]:
        suffix += 1
    return prefix, suffix


def _trimmed(a: Sequence[Hashable], b: Sequence[Hashable], region: Change) -> Change:
    start, end, other_start, other_end = region
    while start < end and other_start < other_end and a[start] == b[other_start]:
        start += 1
        other_start += 1
    while start < end and other_start < other_end and a[end - 1] == b[other_end - 1]:
        end -= 1
        other_end -= 1
    return Change(start, end, other_start, other_end)


def _anchors(a: Sequence[Hashable], b: Sequence[Hashable], region: Change) -> list[tuple[int, int]]:
    """Pairs of positions of elements that stand once on either side, the most of them that are in order in both."""
    here = Counter(a[region.start : region.end])
    there = Counter(b[region.other_start : region.other_end])
    place = {
        b[j]: j for j in range(region.other_start, region.other_end) if there[b[j]] == 1 and here.get(b[j], 0) == 1
    }
    pairs = [(i, place[a[i]]) for i in range(region.start, region.end) if a[i] in place]
    return _longest_rising(pairs)


def _longest_rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest subsequence whose second members rise (patience sorting)."""
    tops: list[int] = []
    top_index: list[int] = []
    previous = [-1] * len(pairs)
    for index, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        previous[index] = top_index[pile - 1] if pile else -1
        tops[pile : pile + 1] = [j]
        top_index[pile : pile + 1] = [index]
    rising = []
    index = top_index[-1] if top_index else -1
    while index >= 0:
        rising.append(pairs[index])
        index = previous[index]
    return rising[::-1]


def _between(region: Change, anchors: list[tuple[int, int]]) -> list[Change]:
    regions = []
    start, other_start = region.start, region.other_start
    for i, j in anchors:
        regions.append(Change(start, i, other_start, j))
        start, other_start = i + 1, j + 1
    regions.append(Change(start, region.end, other_start, region.other_end))
    return regions


def _myers(a: Sequence[Hashable], b: Sequence[Hashable], region: Change) -> list[Change]:
    """The shortest edit script of a region, or the region as a whole when that takes too many edits."""
    start, end, other_start, other_end = region
    size, other_size = end - start, other_end - other_start
    reach = {1: 0}  # of each diagonal, the furthest position in a
    trace: list[dict[int, int]] = []
    for edits in range(min(size + other_size, MYERS_EDITS_MAX) + 1):
        trace.append(reach.copy())
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and reach[diagonal - 1] < reach[diagonal + 1])
            x = reach[diagonal + 1] if down else reach[diagonal - 1] + 1
            y = x - diagonal
            while x < size and y < other_size and a[start + x] == b[other_start + y]:
                x += 1
                y += 1
            reach[diagonal] = x
            if x >= size and y >= other_size:
                return _walked_back(trace, region)
    return [region]


def _walked_back(trace: list[dict[int, int]], region: Change) -> list[Change]:
    start, end, other_start, other_end = region
    x, y = end - start, other_end - other_start
    found: list[Change] = []
    for edits in range(len(trace) - 1, 0, -1):
        reach = trace[edits]
        diagonal = x - y
        down = diagonal == -edits or (diagonal != edits and reach[diagonal - 1] < reach[diagonal + 1])
        from_diagonal = diagonal + 1 if down else diagonal - 1
        x = reach[from_diagonal]
        y = x - from_diagonal
        deleted, inserted = (0, 1) if down else (1, 0)
        found.append(Change(start + x, start + x + deleted, other_start + y, other_start + y + inserted))
    return found[::-1]


def _joined(found: list[Change]) -> list[Change]:
    """Changes without anything between them, as one."""
    joined: list[Change] = []
    for change in found:
        last = joined[-1] if joined else None
        if last is not None and last.end == change.start and last.other_end == change.other_start:
            joined[-1] = Change(last.start, change.end, last.other_start, change.other_end)
        else:
            joined.append(change)
    return joined
