"""What of a room's blocks is worth purging: trash trees (``block_purging.py``) that were deleted long ago.

Whatever moves a deleted block gives it another position operation, and nothing comes below one that is deleted. So the
seq of its delete tells since when all of a trash tree is dead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_purging import going, trash_needs
from collabkernel.document.operations import Purge
from collabkernel.limits import PURGED_IDS


def plan_block_purges(document: BlockDocument, seq: int) -> Iterator[tuple[Purge, int]]:
    """Purges of what was deleted by the operations up to a seq, each with how many blocks go; in their order.

    What has to go at once is in one operation. Where that would name too many, it stays.
    """
    trees, needs = trash_needs(document, [id for id, deleted_seq in document.tree.trashed() if deleted_seq <= seq])
    going_needs = {top: {each for each in needs[top] if each is not None} for top in going(needs)}
    named: list[OpId] = []
    count = 0
    for group in groups(going_needs):
        blocks = sum([len(trees[top]) for top in group])
        if len(group) > PURGED_IDS:
            continue
        if named and (count + blocks > PURGED_IDS or len(named) + len(group) > PURGED_IDS):
            yield Purge(ROOT, tuple(sorted(named))), count
            named, count = [], 0
        named += group
        count += blocks
    if named:
        yield Purge(ROOT, tuple(sorted(named))), count


def still_purged_blocks(document: BlockDocument, op: Purge, seq: int) -> tuple[Purge, int] | None:
    """As much of a purge as finds something in a document by now that was deleted by then; None when it is nothing."""
    tree = document.tree
    trees, needs = trash_needs(document, [id for id in op.ids if id in tree and tree.position_op_of(id)[0] <= seq])
    tops = sorted(going(needs))
    return (Purge(ROOT, tuple(tops)), sum([len(trees[top]) for top in tops])) if tops else None


def groups(needs: Mapping[OpId, set[OpId]]) -> Iterator[list[OpId]]:
    """Those that need each other together, and before those that need them.

    Source: Tarjan, "Depth-first search and linear graph algorithms" (1972).
    """
    index_by_top: dict[OpId, int] = {}
    lowest: dict[OpId, int] = {}
    open_tops: dict[OpId, None] = {}
    for start in needs:
        ways = [(start, iter(needs[start]))] if start not in index_by_top else []
        while ways:
            top, rest = ways[-1]
            if top not in index_by_top:
                index_by_top[top] = lowest[top] = len(index_by_top)
                open_tops[top] = None
            for each in rest:
                if each not in index_by_top:
                    ways.append((each, iter(needs[each])))
                    break
                if each in open_tops:
                    lowest[top] = min(lowest[top], index_by_top[each])
            else:
                ways.pop()
                if ways:
                    above = ways[-1][0]
                    lowest[above] = min(lowest[above], lowest[top])
                if lowest[top] == index_by_top[top]:
                    yield _closed(open_tops, top)


def _closed(open_tops: dict[OpId, None], first: OpId) -> list[OpId]:
    group: list[OpId] = []
    while not group or group[-1] != first:
        group.append(open_tops.popitem()[0])
    return group
