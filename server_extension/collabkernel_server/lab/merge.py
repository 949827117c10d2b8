"""The three-way merge of texts: what was last saved, what the document has, and what somebody else put on disk. Pure.

Both sides' edits are told by lines of the base: lines deleted, changed and inserted. The merge does the edits of both.
Where they meet: a deletion gives way to a change; two changes of one line are merged by words when they touch different
ones, and otherwise both lines are kept; two insertions at one place are both kept, the document's first, what is common
to both once. So nothing that anybody typed is lost, and there are no conflict markers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from collabkernel_server.lab.diff import Edit, apply_edits, changes, similarity, text_edits

SIMILARITY_MIN = 0.5
"""Lines of which less is the same are different lines."""
PAIRS_MAX = 2500
"""Replaced lines times their replacements, up to which they are told apart by how similar they are."""


def merge_text(base: str | None, document: str, disk: str) -> str:
    """The document with what was changed on disk since ``base``; without a base, all lines of both.

    ``merge_text(b, d, b) == d``, ``merge_text(b, b, k) == k`` and ``merge_text(b, x, x) == x``.
    """
    if disk in (document, base):
        return document
    if document == base:
        return disk
    document_lines, disk_lines = document.split("\n"), disk.split("\n")
    base_lines = common(document_lines, disk_lines) if base is None else base.split("\n")
    ours, theirs = _side(base_lines, document_lines), _side(base_lines, disk_lines)
    merged: list[str] = []
    for i in range(len(base_lines) + 1):
        merged += union(ours.inserted.get(i, []), theirs.inserted.get(i, []))
        if i < len(base_lines):
            merged += _line(base_lines[i], i, ours, theirs)
    return "\n".join(merged)


def union(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """All of both, what is common to both once, in the order of each."""
    merged: list[str] = []
    at = 0
    for change in changes(first, second):
        merged += first[at : change.end]
        merged += second[change.other_start : change.other_end]
        at = change.end
    return [*merged, *first[at:]]


def common(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """What both have, in order."""
    kept: list[str] = []
    at = 0
    for change in changes(first, second):
        kept += first[at : change.start]
        at = change.end
    return [*kept, *first[at:]]


def pair(olds: Sequence[str], news: Sequence[str]) -> list[tuple[int, int]]:
    """Which old line became which new one, in order: those that together are most similar."""
    if len(olds) * len(news) > PAIRS_MAX:
        if len(olds) != len(news):
            return []
        return [(i, i) for i in range(len(olds)) if similarity(olds[i], news[i]) >= SIMILARITY_MIN]
    best = [[0.0] * (len(news) + 1) for _ in range(len(olds) + 1)]
    worth = [[_worth(old, new) for new in news] for old in olds]
    for i in range(len(olds) - 1, -1, -1):
        for j in range(len(news) - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + worth[i][j])
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(olds) and j < len(news):
        if worth[i][j] and best[i][j] == best[i + 1][j + 1] + worth[i][j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _worth(old: str, new: str) -> float:
    alike = similarity(old, new)
    return alike if alike >= SIMILARITY_MIN else 0.0


@dataclass(slots=True)
class _Side:
    """One side's edits, by line of the base."""

    inserted: dict[int, list[str]] = field(default_factory=dict)
    """Before this line."""
    changed: dict[int, str] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)


def _side(base: list[str], lines: list[str]) -> _Side:
    side = _Side()
    for change in changes(base, lines):
        olds, news = base[change.start : change.end], lines[change.other_start : change.other_end]
        pairs = pair(olds, news)
        side.deleted.update(range(change.start, change.end))
        gap, taken = change.start, 0
        for i, j in [*pairs, (None, len(news))]:
            if j > taken:
                side.inserted.setdefault(gap, []).extend(news[taken:j])
            if i is not None:
                side.deleted.discard(change.start + i)
                side.changed[change.start + i] = news[j]
                gap, taken = change.start + i + 1, j + 1
    return side


def _line(line: str, i: int, ours: _Side, theirs: _Side) -> list[str]:
    """What becomes of one line of the base."""
    mine, other = ours.changed.get(i), theirs.changed.get(i)
    if mine is not None and other is not None:
        return _both_changed(line, mine, other)
    if mine is not None or other is not None:
        return [mine if mine is not None else other or ""]
    return [] if i in ours.deleted or i in theirs.deleted else [line]


def _both_changed(line: str, mine: str, other: str) -> list[str]:
    if mine == other:
        return [mine]
    edits = _merged_edits(text_edits(line, mine), text_edits(line, other))
    return [mine, other] if edits is None else [apply_edits(line, edits)]


def _merged_edits(ours: list[Edit], theirs: list[Edit]) -> list[Edit] | None:
    """The edits of both in order, or None when they replace the same characters by different ones."""
    same = set(ours) & set(theirs)
    theirs = [edit for edit in theirs if edit not in same]
    for mine in ours:
        for other in theirs:
            if mine.start < other.end and other.start < mine.end:
                return None
    # At one place the document's goes first, and what is inserted goes before what is replaced.
    marked = [(edit.start, edit.end > edit.start, 0, edit) for edit in ours]
    marked += [(edit.start, edit.end > edit.start, 1, edit) for edit in theirs]
    return [edit for *_, edit in sorted(marked)]
