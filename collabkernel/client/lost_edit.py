"""What a document tells a writer whose words stand in a block that somebody else has deleted, and the way back."""

from __future__ import annotations

from collections.abc import Callable

from collabkernel.client.block import Block, root_of
from collabkernel.client.live import Context
from collabkernel.client.notifications import EditLost
from collabkernel.crdt.ids import OpId
from collabkernel.document import block_edits
from collabkernel.errors import PurgedError


class LostEdit:
    """An own edit of a block that somebody else deleted at about the same time; see ``Doc.on_lost_edit``."""

    def __init__(self, context: Context, told: EditLost) -> None:
        self._context = context
        self.block = Block(context, told.block)
        """The block that was edited. Its text can be read, with the edit in it."""
        self.actor = told.actor
        """Who deleted it."""

    def restore(self) -> Block:
        """Bring the block back to where it stood, with all that is written in it, by a new edit; give what is shown.

        If what it was in was deleted, it comes back beside where that stood. Nothing happens when it is back already.

        Raises:
            ReadOnlyError: This session may only read by now.
            PurgedError: It was deleted long ago, and is gone by now.
        """
        context, block = self._context, self.block._id
        with context.lock, context.editing(is_batch=True) as edit:
            tree = edit.blocks.tree
            if block not in tree:
                raise PurgedError(f"block {self.block.id} was deleted long ago, and is gone by now")
            # One that was merged into another meanwhile comes back with that, in whose text its own is.
            shown = tree.host_of(block) if tree.place_of(block) is not None else block
            edit.run(block_edits.restore_block(edit.blocks, edit.next_id, shown))
            return Block(context, tree.host_of(block))

    def __repr__(self) -> str:
        return f"<LostEdit of {self.block!r}, deleted by {self.actor!r}>"


def lost_edit_calls(context: Context, told: EditLost) -> list[Callable[[], object]]:
    """What is to be called for an edit that was lost."""
    blocks = context.replica.state.blocks
    if blocks is None or told.block not in blocks.tree:
        return []
    root: OpId = root_of(blocks, told.block)
    return context.observers.lost_calls(root, LostEdit(context, told))
