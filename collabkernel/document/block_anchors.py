"""Places in the text of blocks that follow it: through edits, splits, merges and moves, as long as a character is left.

A stretch of text is named by its first and last character in a rope. What is typed between belongs to it, what is typed
at its ends does not. When all of it is deleted, nothing is found; an undo of that brings it back.
"""

from __future__ import annotations

from typing import NamedTuple

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.yjs.policy import Reference
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_edits import part_ranges
from collabkernel.document.block_text import Stretch


class TextAnchor(NamedTuple):
    """A stretch of a rope, by its first and last character."""

    rope: OpId
    first: Reference
    last: Reference


class TextRange(NamedTuple):
    """Characters of the text that a block shows."""

    block: OpId
    start: int
    end: int


def anchors_of(document: BlockDocument, block: OpId, start: int, end: int) -> list[TextAnchor]:
    """The anchors of the characters that a block shows from ``start`` to before ``end``: one a rope they are in.

    Raises:
        IndexError: The block shows less.
    """
    found: list[TextAnchor] = []
    for part, first, last in part_ranges(document, block, start, end):
        stretch = document.stretch(part)
        assert stretch is not None, "it has text"
        ranges = stretch.ranges(first, last)
        rope_id = document.block(part).rope_id
        anchors = document.ropes[rope_id].rope.anchors()
        found.append(TextAnchor(rope_id, anchors.name_at(ranges[0][0]), anchors.name_at(ranges[-1][1] - 1)))
    return found


def find(document: BlockDocument, anchors: list[TextAnchor]) -> list[TextRange]:
    """Where what was anchored is now, in blocks that are in their document; nothing if none of it is left.

    Raises:
        NotLoadedError: The text is not here.
    """
    found: list[TextRange] = []
    for anchor in anchors:
        for part, start, end in _in_parts(document, anchor):
            shown = _shown(document, part, start, end)
            if shown is None:
                continue
            last = found[-1] if found else None
            if last is not None and (last.block, last.end) == (shown.block, shown.start):
                found[-1] = TextRange(last.block, last.start, shown.end)
            else:
                found.append(shown)
    return found


def _in_parts(document: BlockDocument, anchor: TextAnchor) -> list[tuple[OpId, int, int]]:
    """The stretch in the own texts of the blocks of its rope."""
    rope = document.ropes.get(document.known_block(anchor.rope).id) if anchor.rope in document else None
    if rope is None:
        return []
    anchors = rope.rope.anchors()
    first, last = anchors.find(anchor.first), anchors.find(anchor.last)
    if first is None or last is None:
        return []
    start, end = first[0], last[0] + last[1]
    found: list[tuple[OpId, int, int]] = []
    for stretch in rope.stretches(document.counts(rope)):
        low, high = max(start, stretch.start), min(end, stretch.end)
        if low < high and (begin := _own(stretch, low)) < (stop := _own(stretch, high)):
            found.append((stretch.block, begin, stop))
    return found


def _own(stretch: Stretch, index: int) -> int:
    """An index of a rope as one of a block's own text."""
    return index - stretch.start - sum(hole < index for hole in stretch.holes)


def _shown(document: BlockDocument, part: OpId, start: int, end: int) -> TextRange | None:
    """Characters of a block's own text where they are shown."""
    if part not in document.tree or not document.tree.is_alive(part):
        return None
    host = document.tree.host_of(part)
    parts = document.parts(host)
    at = sum([document.own_length(each) for each in parts[: parts.index(part)]])
    return TextRange(host, at + start, at + end)
