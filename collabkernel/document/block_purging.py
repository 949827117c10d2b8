"""Purging blocks: letting go of what was deleted long ago in documents, with its texts and properties.

What goes is whole *trash trees*: a block that was deleted itself, with all that died of that and stands below it still.
So whoever brings back a block that is still there finds all that he deleted. A purge names the blocks that were deleted
themselves; of these the ones go that are deleted now, and that nothing else needs:

- A rope goes with all its blocks at once. While one of them stays, its text does, and so do the others: where they
  begin is told by their markers in it, and a marker whose block is gone would show their text as another's.
- Where a block was deleted out of another that is dead, the place that it would come back to is there. So the other
  goes no sooner than it.
- What the keeper has put into the trash since it was merged and empty (``block_mending.py``) comes back when somebody
  types in it. It goes with what it was merged into and no sooner.

Order keys stand for themselves, and lifted ones tell the whole way: of what is left no order changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from collabkernel.crdt.ids import KEEPER_SITE, OpId
from collabkernel.crdt.text_doc import EMPTY_STATE
from collabkernel.document.block import BLOCK_BYTES, BLOCK_TEXT_BYTES
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.live_tree import registers_bytes

Needs = dict[OpId, set[OpId | None]]
"""Of each trash tree those that have to go with it or before it; None: something that stays."""


def purge_blocks(document: BlockDocument, named: Iterable[OpId]) -> None:
    """Let go of trash trees; those that are none, or have to stay, are passed over.

    Args:
        document: Of a replica on which no own operation is on top of the log.
        named: The blocks on top of them.
    """
    trees, needs = trash_needs(document, named)
    tops = going(needs)
    if not tops:
        return
    gone = {block for top in tops for block in trees[top]}
    # One whose insert was refused has no place, and nobody is told of it but by the rope.
    gone |= {block for block, rope in document.blocks.splits().items() if rope in gone and block not in document.tree}
    document.tree.forget(tops)
    for block in gone:
        _forget(document, block)


def trash_needs(document: BlockDocument, named: Iterable[OpId]) -> tuple[dict[OpId, list[OpId]], Needs]:
    """The trash trees that are named, each with its blocks by the one on top; and what has to go with each."""
    tree = document.tree
    trees = {top: blocks for top in named if (blocks := tree.died_with(top))}
    needs: Needs = {top: set() for top in trees}
    if not trees:
        return trees, needs
    top_by_block = {block: top for top, blocks in trees.items() for block in blocks}
    for id, stood_in in tree.trashed_out_of(top_by_block):
        needs[top_by_block[stood_in]].add(id if id in trees else None)
    for top in trees:
        if tree.position_op_of(top)[1] == KEEPER_SITE:
            host = tree.parent_of(top)
            needs[top].add(None if host is None else top_by_block.get(host))
    for block, rope in document.blocks.splits().items():
        if block not in tree:
            continue
        own, first = top_by_block.get(block), top_by_block.get(rope)
        if own is not None:
            needs[own].add(first)
        if first is not None:
            needs[first].add(own)
    return trees, needs


def going(needs: Mapping[OpId, Iterable[OpId | None]]) -> list[OpId]:
    """The trash trees that may go: those that need no other but such."""
    needed_by: dict[OpId | None, list[OpId]] = {}
    for top, needed in needs.items():
        for each in needed:
            needed_by.setdefault(each, []).append(top)
    staying = set(needed_by.get(None, ()))
    stack = list(staying)
    while stack:
        for top in needed_by.get(stack.pop(), ()):
            if top not in staying:
                staying.add(top)
                stack.append(top)
    return [top for top in needs if top not in staying]


def _forget(document: BlockDocument, id: OpId) -> None:
    """Take a block out of all but the tree."""
    size_bytes = BLOCK_BYTES + registers_bytes(document.blocks[id].properties.held())
    document.blocks.pop(id)
    if document.known is not None:
        document.known.discard(id)
    rope = document.ropes.pop(id, None)
    if rope is not None and rope.size_bytes > len(EMPTY_STATE):
        size_bytes += BLOCK_TEXT_BYTES + rope.size_bytes
    document.size_bytes = max(0, document.size_bytes - size_bytes)
