"""What changes of places mean for those who show or observe blocks: whose text reads otherwise, and who stands where he
stood.

Typing is told as deltas (``BlockDocument.admit``). A split takes the end from the block before it, a merge puts one
block behind another, and both may be taken back: what reads otherwise by that is known from the places alone. A rekey
gives all siblings other keys, and moves few or none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import TypeAlias

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.move_tree import MoveTree, Place
from collabkernel.document.block_document import BlockDocument

Changes: TypeAlias = Mapping[OpId, tuple[Place | None, Place | None]]
"""Where blocks stood and stand."""


def unmoved(tree: MoveTree, changes: Changes) -> set[OpId]:
    """The blocks whose keys alone are others, by a rekey: the most that stand in the order in which they stood.

    Args:
        tree: As it is now.
        changes: As ``MoveTree.changes`` tells it.
    """
    old_by_place: dict[tuple[OpId, Slot], dict[OpId, str]] = {}
    for block, (was, now) in changes.items():
        if was is not None and now is not None and was[:2] == now[:2]:
            old_by_place.setdefault((now.parent, now.slot), {})[block] = was.key
    found: set[OpId] = set()
    for at, key_by_block in old_by_place.items():
        if len(key_by_block) > 1:  # one alone was moved; a rekey changes nearly all
            children = tree.children(*at)
            found.update(_longest_rise(_beside_the_same(tree, children, changes, key_by_block), key_by_block))
    return found


def _beside_the_same(
    tree: MoveTree, children: list[OpId], changes: Changes, key_by_block: Mapping[OpId, str]
) -> list[OpId]:
    """Of siblings with another key, in their order, those that no sibling stands on another side of which kept its."""
    kept = [(place.key, each) for each in children if each not in changes and (place := tree.place_of(each))]
    found: list[OpId] = []
    before = 0
    for each in children:
        if each not in changes:
            before += 1
        elif each in key_by_block and bisect_left(kept, (key_by_block[each], each)) == before:
            found.append(each)
    return found


def _longest_rise(blocks: list[OpId], key_by_block: Mapping[OpId, str]) -> list[OpId]:
    """Of blocks in their order the most whose keys rise.

    Source: Schensted, "Longest increasing and decreasing subsequences" (1961).
    """
    ends: list[tuple[str, OpId]] = []
    before: dict[OpId, OpId | None] = {}
    for block in blocks:
        at = bisect_left(ends, (key_by_block[block], block))
        ends[at : at + 1] = [(key_by_block[block], block)]
        before[block] = ends[at - 1][1] if at else None
    rise: list[OpId] = []
    last = ends[-1][1] if ends else None
    while last is not None:
        rise.append(last)
        last = before[last]
    return rise


def retold(document: BlockDocument, changes: Changes) -> set[OpId]:
    """The live blocks whose shown text may read otherwise; those that came with their place are not among them.

    Args:
        document: As it is now.
        changes: Where blocks stood and stand, as ``MoveTree.changes`` tells it.
    """
    tree = document.tree
    found: set[OpId] = set()
    for block, (was, now) in changes.items():
        for place in (was, now):
            if place is not None and place.slot is Slot.INLINE and place.parent in tree:
                found.add(tree.host_of(place.parent))
        if was is not None and was.slot is Slot.INLINE and now is not None:
            found.add(tree.host_of(block))
        if was is None or block not in tree:
            before = _split_from(document, block)
            if before is not None:
                found.add(tree.host_of(before))
    return {block for block in found if tree.is_alive(block)}


def _split_from(document: BlockDocument, block: OpId) -> OpId | None:
    """The block whose text ends where the text of this one begins, or goes on there if this one has no place."""
    known = document.blocks.get(block)
    rope = document.ropes.get(known.rope_id) if known is not None and known.is_split else None
    if rope is None:
        return None
    counts, before = document.counts(rope), rope.id
    for _, name in rope.marks():
        if name == block:
            return before if before in document.tree else None
        if counts(name):
            before = name
    return None
