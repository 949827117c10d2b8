"""What of a room is worth purging: what is deleted now, and was so in a state of long ago.

A slot and an element that are dead stay so; a deleted key tells by its stamp since when, a block by the seq of its
delete. So whoever has the two states can tell, and the room holds what was found against what it is when it purges
(``still_purged``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from collabkernel.crdt.ids import Stamp
from collabkernel.document.block_purge_plan import plan_block_purges, still_purged_blocks
from collabkernel.document.live_tree import ListNode, MapNode
from collabkernel.document.operations import Purge
from collabkernel.document.purging import keys_of_shared, purgeable_keys
from collabkernel.document.room_state import RoomState
from collabkernel.limits import PURGED_IDS


class Then(NamedTuple):
    """What a room was long ago."""

    state: RoomState
    seq: int
    """The last operation that is in it."""
    floor: Stamp
    """The highest stamp that a deletion of a key has had by then."""


def plan_purges(now: RoomState, then: Then, least: int) -> list[Purge]:
    """The purges of what was deleted in the state of long ago, in their order; none when all find less than ``least``.

    Args:
        now: What the room is, or was lately.
        then: What it was long ago.
        least: Slots, keys and blocks that are worth it: who is offline has to look what is left of what he did.
    """
    blocks = () if now.blocks is None else plan_block_purges(now.blocks, then.seq)
    purges = [*_of_lists(now, then.state), *_of_maps(now, then.floor), *blocks]
    found = sum([count for _, count in purges])
    return [op for op, _ in purges] if found >= least else []


def _of_lists(now: RoomState, then: RoomState) -> Iterator[tuple[Purge, int]]:
    for node in now.tree.in_order():
        before = then.tree.nodes.get(node.id)
        if isinstance(node, ListNode) and isinstance(before, ListNode):
            dead = sorted([slot for slot in before.items.dead_slots() if node.items.is_dead(slot)])
            for start in range(0, len(dead), PURGED_IDS):
                ids = tuple(dead[start : start + PURGED_IDS])
                yield Purge(node.id, ids), len(ids)


def _of_maps(now: RoomState, floor: Stamp) -> Iterator[tuple[Purge, int]]:
    kept = keys_of_shared(now.tree)
    for node in now.tree.in_order():
        if isinstance(node, MapNode):
            stamps = sorted(purgeable_keys(node, floor, kept.get(node.id, ())))
            for start in range(0, len(stamps), PURGED_IDS):
                step = stamps[start : start + PURGED_IDS]
                yield Purge(node.id, floor=step[-1]), len(step)


def still_purged(state: RoomState, op: Purge, seq: int) -> tuple[Purge, int] | None:
    """As much of a purge as finds something in a room by now, and how much that is; None when it is nothing.

    Args:
        state: The room's.
        op: The purge.
        seq: Of the state of long ago: a block may have been back since then.
    """
    if op.is_of_blocks:
        return None if state.blocks is None else still_purged_blocks(state.blocks, op, seq)
    node = state.tree.nodes.get(op.target)
    if isinstance(node, ListNode):
        ids = tuple([each for each in op.ids if node.items.is_dead(each)])
        return (replace(op, ids=ids), len(ids)) if ids else None
    if isinstance(node, MapNode) and op.floor is not None:
        count = len(purgeable_keys(node, op.floor, keys_of_shared(state.tree).get(node.id, ())))
        return (op, count) if count else None
    return None
