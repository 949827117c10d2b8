"""Edits of blocks that are made again where what they name was purged meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.tree.rekeys import join_keys
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import BlockDelete, BlockInsert, BlockMove, MapDelete, MapSet, Op, TextEdit
from collabkernel.errors import PurgedError


def refitted_block(
    op: Op, names: Mapping[OpId, OpId], stood_in: BlockDocument | None, now: BlockDocument | None
) -> Op | None:
    """What an edit is where it is made again: a block that was inserted below what is gone comes to where that stood.

    None of a change of properties, or a delete, of a block that is gone: its deletion wins, as ever.

    Args:
        op: The edit, with the names that things had.
        names: What they are called by now, of those that have other names.
        stood_in: Where it had a place.
        now: Where it is made again.

    Raises:
        PurgedError: It comes to nothing, and its author wants to know: it types, moves or splits what is gone.
    """
    if stood_in is None or now is None:
        return op

    def is_gone(block: OpId | None) -> bool:
        return block is not None and block in stood_in and names.get(block, block) not in now

    match op:
        case TextEdit() | BlockMove() if is_gone(op.target):
            raise PurgedError(f"the block {op.target.site}.{op.target.counter} was deleted long ago")
        case MapSet() | MapDelete() | BlockDelete() if is_gone(op.target):
            return None
        case BlockMove() if is_gone(op.parent):
            raise PurgedError(f"the block {op.parent.site}.{op.parent.counter}, which it was put below, is gone")
        case BlockInsert() if is_gone(op.split):
            raise PurgedError("the block that it was split off from was deleted long ago")
        case BlockInsert() if is_gone(op.target):
            return _lifted(op, names, stood_in, now)
        case _:
            return op


def _lifted(op: BlockInsert, names: Mapping[OpId, OpId], stood_in: BlockDocument, now: BlockDocument) -> BlockInsert:
    """To the nearest place that is there, on the way up from where it was put: as below what is deleted."""
    above, slot, keys = op.target, op.slot, [op.key]
    while names.get(above, above) not in now:
        place = stood_in.tree.last_place_of(above)
        if place is None:
            raise PurgedError("the block that it was put below was deleted long ago")
        keys.append(place.key)
        slot = slot if place.slot is Slot.INLINE else Slot.CHILD
        above = place.parent
    return replace(op, target=above, slot=slot, key=join_keys(keys[::-1]))
