"""All that a room holds: its live values, and its block documents once it has one.

What commutes (live values, properties and texts of blocks) is applied when it comes; where blocks stand is *judged*
when the log has the operation, in its order (``judge``). A room without documents pays nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import cast

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.move_tree import Verdict
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.text_doc import EMPTY_STATE
from collabkernel.document.block import BLOCK_TEXT_BYTES
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_loading import is_passed_over, unload
from collabkernel.document.block_purging import purge_blocks
from collabkernel.document.live_tree import TYPED_TEXT_BYTES, Change, LiveTree, TextNode
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    BlockRekey,
    LiveOp,
    NewDocument,
    Op,
    Purge,
    StoredEnvelope,
    TextEdit,
    TreeOp,
)
from collabkernel.document.purging import purge_live

TREE_OPS: frozenset[type] = frozenset((NewDocument, BlockInsert, BlockMove, BlockDelete, BlockRekey))
"""The classes of ``TreeOp``."""
JUDGED_OPS = TREE_OPS | {Purge}
"""What does something when the log has it, not when it comes."""

Undo = Callable[[], None]


class RoomState:
    """The state of one room on one replica."""

    __slots__ = ("_is_loose", "blocks", "is_partial", "purged_seq", "tree")

    def __init__(self, tree: LiveTree | None = None, blocks: BlockDocument | None = None, purged_seq: int = 0) -> None:
        self.tree = tree or LiveTree()
        """The live values."""
        self.blocks = blocks
        """The blocks of all documents; None before the first."""
        self.purged_seq = purged_seq
        """Seq of the last purge: who has not seen it may name what is gone."""
        self.is_partial = False
        """The contents of some blocks alone are here; see ``BlockDocument.known``."""
        self._is_loose = False

    def tell(self, is_told: bool) -> None:
        """Whether ``apply`` tells what changed from now on. Servers do without: of a text it costs twice the time."""
        self.tree.tells_changes = is_told
        if self.blocks is not None:
            self.blocks.tells_changes = is_told

    @property
    def size_bytes(self) -> int:
        """What it is counted as."""
        return self.tree.size_bytes if self.blocks is None else self.tree.size_bytes + self.blocks.size_bytes

    def holder(self, op: Op) -> LiveTree | BlockDocument:
        """The part that an operation belongs to."""
        blocks = self.blocks
        if op.__class__ in TREE_OPS:
            return self._made_blocks() if blocks is None else blocks
        return self.tree if blocks is None or op.target not in blocks else blocks

    def _made_blocks(self) -> BlockDocument:
        blocks = self.blocks = BlockDocument(self.tree.client_id, has_all_texts=not self._is_loose)
        blocks.tells_changes = self.tree.tells_changes
        blocks.known = set() if self.is_partial else None
        return blocks

    def begin_partial(self) -> None:
        """Know the contents of no block, and let go of those that are here."""
        self.is_partial = True
        blocks = self.blocks
        if blocks is not None:
            blocks.known = set()
            for id in {*blocks.ropes, *[block.id for block in blocks.blocks.made()]}:
                unload(blocks, id)

    def restrict(self, kept: Collection[OpId]) -> list[OpId]:
        """Know the contents of these blocks alone from here on; the blocks whose contents were let go."""
        self.is_partial = True
        blocks = self.blocks
        if blocks is None:
            return []
        if blocks.known is None:
            blocks.known = set(blocks.blocks)
        gone = sorted(blocks.known.difference(kept))
        for id in gone:
            unload(blocks, id)
        return gone

    def is_passed_over(self, op: Op) -> bool:
        """Whether an operation is on the contents of a block that are not here."""
        return self.is_partial and self.blocks is not None and is_passed_over(self.blocks, op)

    def apply(self, op_id: OpId, stamp: Stamp, op: Op) -> list[Change]:
        """Apply what commutes in one operation, at once and whole, or not at all; tell what changed for a user.

        Raises:
            InvalidOperationError, InvalidYjsUpdateError, TooDeepError: As ``LiveTree.apply``.
        """
        if self.blocks is None and op.__class__ not in JUDGED_OPS:  # the way of most rooms
            change = self.tree.apply(op_id, stamp, cast(LiveOp, op))
            return [] if change is None else [change]
        if isinstance(op, Purge):
            return []
        holder = self.holder(op)
        if isinstance(holder, BlockDocument):
            return holder.admit(op_id, stamp, op)
        change = holder.apply(op_id, stamp, cast(LiveOp, op))
        return [] if change is None else [change]

    def apply_untold(self, op_id: OpId, stamp: Stamp, op: Op) -> None:
        """``apply`` where nobody asks what changed.

        Raises:
            InvalidOperationError, InvalidYjsUpdateError, TooDeepError: As ``LiveTree.apply``.
        """
        was_told = self.tree.tells_changes
        self.tell(False)
        try:
            self.apply(op_id, stamp, op)
        finally:
            self.tell(was_told)

    def apply_undoable(self, op_id: OpId, stamp: Stamp, op: Op) -> tuple[list[Change], Undo]:
        """``apply`` that can be taken back, as long as nothing later is applied."""
        if isinstance(op, Purge):
            return [], _nothing
        holder = self.holder(op)
        if isinstance(holder, BlockDocument):
            return holder.admit_undoable(op_id, stamp, op)
        change, undo = holder.apply_undoable(op_id, stamp, cast(LiveOp, op))
        return [] if change is None else [change], undo

    def rope(self, op: TextEdit) -> TextRope:
        """The text that an operation edits.

        Raises:
            UnknownTargetError, WrongTargetKindError: There is none.
        """
        holder = self.holder(op)
        return holder.rope(op.target) if isinstance(holder, BlockDocument) else holder.text(op)

    def find_rope(self, op: TextEdit) -> TextRope | None:
        """``rope``, or None where there is none here."""
        if self.blocks is not None and op.target in self.blocks:
            return self.blocks.rope(op.target) if self.blocks.is_known(op.target) else None
        node = self.tree.nodes.get(op.target)
        return node.rope if isinstance(node, TextNode) else None

    def text_bytes(self, op: TextEdit) -> int:
        """About how large the text is that an operation edits; 0 when nobody has typed in it, or there is none."""
        if self.blocks is not None and op.target in self.blocks:
            rope = self.blocks.ropes.get(op.target)
            return 0 if rope is None or rope.size_bytes <= len(EMPTY_STATE) else rope.size_bytes
        node = self.tree.nodes.get(op.target)
        return node.rope.size_bytes if isinstance(node, TextNode) and not node.rope.is_empty else 0

    def typed_bytes(self, op: TextEdit) -> int:
        """What the text that an operation edits is counted as beside its contents, once there are any."""
        return BLOCK_TEXT_BYTES if self.blocks is not None and op.target in self.blocks else TYPED_TEXT_BYTES

    def waking(self, op: TextEdit) -> int:
        """What it costs to make the text ready that an operation edits: about as much as so many operations."""
        rope = None if self.blocks is None else self.blocks.ropes.get(op.target)
        return 0 if rope is None else rope.waking

    def cool(self, op: TextEdit) -> None:
        """Let the text that an operation edits be no more than bytes until the next, if it is a block's."""
        rope = None if self.blocks is None else self.blocks.ropes.get(op.target)
        if rope is not None:
            rope.cool()

    def make_ready(self) -> None:
        """Do now what the first edits would wait for; a snapshot needs none of it."""
        for node in self.tree.in_order():
            if isinstance(node, TextNode):
                node.rope.make_ready()
        if self.blocks is not None:
            self.blocks.make_ready()

    def loosen(self) -> None:
        """Until ``order`` the log is replayed: lists keep no order, and texts come later than what is said of them."""
        self._is_loose = True
        self.tree.loosen()
        if self.blocks is not None:
            self.blocks.has_all_texts = False

    def order(self) -> None:
        """The end of what ``loosen`` began."""
        self._is_loose = False
        self.tree.order()
        if self.blocks is not None:
            self.blocks.has_all_texts = True

    def judge(self, seq: int, base: int, op_id: OpId, op: TreeOp) -> Verdict:
        """Judge an operation that was applied before and now is in the log, the next of its order."""
        assert self.blocks is not None, "an operation on blocks is applied before it is judged"
        return self.blocks.judge(op_id, op, seq, base)

    def judge_all(self, stored: StoredEnvelope) -> None:
        """Judge what an envelope does to blocks, that was applied before and is the next of the log; or purge."""
        for i, op in enumerate(stored.envelope.ops):
            if isinstance(op, Purge):
                self.purge(stored.seq + i, op)
            elif op.__class__ in TREE_OPS:
                self.judge(stored.seq + i, stored.envelope.base, stored.op_id(i), cast(TreeOp, op))

    def purge(self, seq: int, op: Purge) -> None:
        """Let go of what a purge names, that is the next of the log."""
        self.purged_seq = seq
        if not op.is_of_blocks:
            purge_live(self.tree, op)
        elif self.blocks is not None:
            purge_blocks(self.blocks, op.ids)


def _nothing() -> None:
    """Nothing is taken back of what did nothing yet."""
