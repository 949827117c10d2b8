"""List edits that are made again where what they name was purged meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from collabkernel.crdt.ids import OpId, Side
from collabkernel.crdt.rga import RgaList
from collabkernel.document.live_tree import ListNode, LiveTree
from collabkernel.document.operations import ListDelete, ListInsert, ListMove, ListSet, Op
from collabkernel.errors import UnknownReferenceError


def refitted(op: Op, names: Mapping[OpId, OpId], stood_in: LiveTree, now: LiveTree) -> Op | None:
    """What an edit is where it is made again: that of a list, behind the nearest element that it stood behind.

    None of an edit of an element that is gone: a deletion wins over it, as ever.

    Args:
        op: The edit, with the names that things had.
        names: What they are called by now, of those that have other names.
        stood_in: Where it had a place.
        now: Where it is made again.
    """
    if not isinstance(op, ListInsert | ListDelete | ListMove | ListSet):
        return op
    before, after = stood_in.nodes.get(op.target), now.nodes.get(names.get(op.target, op.target))
    if not isinstance(before, ListNode) or not isinstance(after, ListNode):
        return op
    if not isinstance(op, ListInsert) and not after.items.knows(names.get(op.element, op.element)):
        return None if before.items.knows(op.element) else op
    if isinstance(op, ListInsert | ListMove) and op.parent is not None:
        return _placed(op, names, before.items, after.items)
    return op


def _placed(op: ListInsert | ListMove, names: Mapping[OpId, OpId], before: RgaList, after: RgaList) -> Op:
    assert op.parent is not None, "the start of a list is always there"
    try:
        after.check_slot(names.get(op.parent, op.parent), Side.RIGHT)
    except UnknownReferenceError:
        shown = [names.get(each, each) for each in before.shown_before(op.parent, op.side)]
        nearest = next((each for each in shown if each in after), None)
        index = None if nearest is None else after.index_of(nearest)
        parent, side = after.insertion_point(0 if index is None else index + 1)
        return replace(op, parent=parent, side=side)
    return op
