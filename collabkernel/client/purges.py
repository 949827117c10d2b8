"""What a purge of the log does to a replica, which may have edits on their way that the log has not.

These are in the replica's one state: they may keep something there that has gone elsewhere, or change what stands where
it was. So a replica with such edits in what is purged leaves its state as it is, which tells where they stand, and
takes the server's. What they name that has gone there, the server tells them (``purged``), and they are made again
(``reissue.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collabkernel.client.own_blocks import OwnBlocks
from collabkernel.client.pending import PendingEnvelope
from collabkernel.crdt.ids import OpId
from collabkernel.document.operations import BlockInsert, BlockMove, Op, Purge, StoredEnvelope
from collabkernel.document.room_state import RoomState


def is_purge(stored: StoredEnvelope) -> bool:
    """Whether an envelope of the log purges."""
    return any(op.__class__ is Purge for op in stored.envelope.ops)


def purge(
    state: RoomState, own_blocks: OwnBlocks, stored: StoredEnvelope, pending: Iterable[PendingEnvelope] = ()
) -> bool:
    """Purge what an envelope of the log does, where all before it is judged.

    Returns:
        Whether it was done: not where edits that are on their way are in what it purges.
    """
    purges = {stored.seq + i: op for i, op in enumerate(stored.envelope.ops) if isinstance(op, Purge)}
    targets = {op.target for op in purges.values() if not op.is_of_blocks}
    mine = [op for entry in pending for op in entry.envelope.ops]
    if any(op.target in targets for op in mine):
        return False
    with own_blocks.without_own():
        gone = _trash(state, purges.values())
        if any(name in gone for op in mine for name in _names(op)):
            return False
        for seq, op in purges.items():
            state.purge(seq, op)
    return True


def _trash(state: RoomState, purges: Iterable[Purge]) -> set[OpId]:
    """The blocks that purges may take."""
    blocks = state.blocks
    if blocks is None:
        return set()
    named = [id for op in purges if op.is_of_blocks for id in op.ids]
    return {block for top in named for block in blocks.tree.died_with(top)}


def _names(op: Op) -> Iterator[OpId]:
    """The blocks that an operation names."""
    yield op.target
    if isinstance(op, BlockMove):
        yield op.parent
    elif isinstance(op, BlockInsert) and op.split is not None:
        yield op.split
