"""What comes onto what a replica shows: others' operations out of the log, and own ones on top of it."""

from __future__ import annotations

from collabkernel.client.own_blocks import OwnBlocks
from collabkernel.client.pending import PendingEnvelope
from collabkernel.crdt.ids import OpId
from collabkernel.document.block_loading import is_contents_op
from collabkernel.document.live_tree import Change
from collabkernel.document.operations import Op, StoredEnvelope, TextEdit
from collabkernel.document.room_state import RoomState
from collabkernel.errors import LimitError, RemoteProtocolError


def apply_stored(state: RoomState, stored: StoredEnvelope, *, is_told: bool) -> tuple[Change, ...]:
    """Apply what commutes of an envelope of the log, and is here; what changed for a user, if anybody asks.

    Raises:
        RemoteProtocolError, LimitError: It does not fit what is here.
    """
    changes: list[Change] = []
    for i, op in enumerate(stored.envelope.ops):
        if is_needless(state, op, stored.site):
            continue
        if is_told:
            changes += state.apply(stored.op_id(i), stored.stamp(i), op)
        else:
            state.apply_untold(stored.op_id(i), stored.stamp(i), op)
    return tuple(changes)


def put_on(
    state: RoomState, own_blocks: OwnBlocks, entry: PendingEnvelope, blocks: frozenset[OpId] | None = None
) -> None:
    """Apply a pending envelope to a new state. What does not fit it is not shown; the server's verdict is coming.

    Args:
        state: What is shown.
        own_blocks: The places of blocks in it.
        entry: The envelope.
        blocks: Contents that are new, where the rest of the state is not: apply what is on them alone.
    """
    site = own_blocks.site
    if blocks is not None and not entry.is_applied:
        return
    entry.is_applied = True
    for i, op in enumerate(entry.envelope.ops):
        if (blocks is not None and not is_contents_op(op, blocks)) or is_needless(state, op, site):
            continue
        op_id = entry.op_id(site, i)
        try:
            state.apply_untold(op_id, entry.stamp(site, i), op)
            own_blocks.add(op_id, op, entry.envelope.base)
        except (RemoteProtocolError, LimitError):
            entry.is_applied = False


def is_needless(state: RoomState, op: Op, site: int) -> bool:
    """Whether an operation of a site is on contents that are not here, or is in its text already."""
    if state.is_passed_over(op):
        return True
    if not isinstance(op, TextEdit):
        return False
    rope = state.find_rope(op)
    return rope is not None and rope.covers(op.update, site)
