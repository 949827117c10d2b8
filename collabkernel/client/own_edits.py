"""What this site has written into blocks lately, and whether somebody's delete has come between.

Of an edit and a delete of one block the delete wins, and the text is kept with the block. The writer is told, once,
when his edit is in the log, and one of the two came into it within ``RESTORE_OFFERED_MS`` of the other without its
author having seen the other: he typed where nobody reads any more, or somebody deleted what he had not read.

When something came into the log is known of what comes while this replica is up to date; of what it missed, the stamps
tell, which are the server's time but for authors who were offline as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from collabkernel.client.notifications import EditLost
from collabkernel.crdt.ids import OpId
from collabkernel.crdt.move_tree import MoveTree
from collabkernel.limits import RESTORE_OFFERED_MS


class _Stored(NamedTuple):
    """The last edit of a block that the log has."""

    seq: int
    at_ms: int


class _Deletion(NamedTuple):
    base: int
    actor: str
    at_ms: int


class OwnEdits:
    """Of one site. Times are the server's."""

    def __init__(self) -> None:
        self._blocks_by_counter: dict[int, tuple[OpId, ...]] = {}
        """What envelopes wrote into that the log does not have, by their last counters."""
        self._counter_by_block: dict[OpId, int] = {}
        """The last of these of each block."""
        self._stored_by_block: dict[OpId, _Stored] = {}
        self._deletion_by_seq: dict[int, _Deletion] = {}

    def wrote(self, last_counter: int, blocks: Iterable[OpId]) -> None:
        """An envelope was made that ends with ``last_counter``, and edits texts or properties of blocks."""
        written = self._blocks_by_counter[last_counter] = tuple(blocks)
        self._counter_by_block.update(dict.fromkeys(written, last_counter))

    def stored(self, last_counter: int, seq: int, at_ms: int) -> None:
        """The log has an own envelope, up to ``seq``."""
        for block in self._blocks_by_counter.pop(last_counter, ()):
            self._stored_by_block[block] = _Stored(seq, at_ms)
            if self._counter_by_block[block] == last_counter:
                del self._counter_by_block[block]

    def deleted(self, seq: int, base: int, actor: str, at_ms: int) -> None:
        """The log has somebody else's delete."""
        self._deletion_by_seq[seq] = _Deletion(base, actor, at_ms)

    def lost(self, tree: MoveTree, now_ms: int) -> list[EditLost]:
        """The edits that came to stand in deleted blocks; each is told once, when the log has it."""
        found: list[EditLost] = []
        for block, stored in list(self._stored_by_block.items()):
            if block in self._counter_by_block or block not in tree or tree.is_alive(block):
                continue
            del self._stored_by_block[block]
            deletion = self._deletion_by_seq.get(_death_of(tree, block))
            if deletion is not None and _crossed(stored, deletion):
                found.append(EditLost(block, deletion.actor))
        self._forget(now_ms - RESTORE_OFFERED_MS)
        return found

    def _forget(self, before_ms: int) -> None:
        """Drop what was too long ago to cross with anything that comes."""
        for block, stored in list(self._stored_by_block.items()):
            if stored.at_ms < before_ms:
                del self._stored_by_block[block]
        for seq, deletion in list(self._deletion_by_seq.items()):
            if deletion.at_ms < before_ms:
                del self._deletion_by_seq[seq]


def _crossed(stored: _Stored, deletion: _Deletion) -> bool:
    return deletion.base < stored.seq and abs(stored.at_ms - deletion.at_ms) <= RESTORE_OFFERED_MS


def _death_of(tree: MoveTree, block: OpId) -> int:
    """The seq of the delete that a dead block died of."""
    top = block
    if tree.place_of(block) is not None:
        *_, top = tree.ancestors(block)
    return tree.position_op_of(top)[0]
