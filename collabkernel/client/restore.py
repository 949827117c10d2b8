"""Bringing a document back to what it was, by new edits: what others did stays in the log, and undo takes them back.

Blocks that are gone are put back as what they were, with their names, so links and comments find them; a block that
was split or merged since is put together or taken apart again. Text that nothing is left of is written anew, and so are
blocks that were purged meanwhile (``document/block_purging.py``), under new names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from collabkernel.client.edit import Edit
from collabkernel.client.live import Context
from collabkernel.crdt.ids import OpId, Slot
from collabkernel.document import block_edits
from collabkernel.document.block_diff import properties_of, rising
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.text_diff import format_diff, text_diff

Step: TypeAlias = Callable[[Edit], object]
ENVELOPE_OPS = 1000
"""Operations after which another envelope begins: far under what one may have, whatever the next block takes."""
ENVELOPE_BYTES = 256 << 10
"""... and bytes: a frame takes a megabyte."""


def restore(context: Context, past: BlockDocument, root: OpId) -> None:
    """Make a document what it was, in one envelope, or in several where that would be too large."""
    with context.lock:
        steps = _steps(context, past, root)
        is_left = True
        while is_left:
            with context.editing(is_batch=True) as edit:
                is_left = _take(steps, edit)


def _take(steps: Iterator[Step], edit: Edit) -> bool:
    """Do what fits an envelope; whether more may be left."""
    for step in steps:
        step(edit)
        if len(edit.done) >= ENVELOPE_OPS or edit.size_bytes >= ENVELOPE_BYTES:
            return True
    return False


class Names:
    """What the blocks of the past are called now: as ever, but for those that were purged and written anew."""

    def __init__(self) -> None:
        self._new_by_old: dict[OpId, OpId] = {}

    def note(self, old: OpId, new: OpId) -> None:
        """A block was written anew."""
        self._new_by_old[old] = new

    def now(self, block: OpId) -> OpId:
        """The name of a block of the past."""
        return self._new_by_old.get(block, block)


def _steps(context: Context, past: BlockDocument, root: OpId) -> Iterator[Step]:
    """What is to be done, one after the other: each looks at what the ones before it have made."""
    wanted = list(past.tree.in_order(root)) if root in past.tree else []
    names = Names()
    for block in wanted:
        yield partial(_bring_back, past=past, root=root, names=names, block=block)
    for parent in (root, *wanted):
        # From above: so what a block is put below stands right already, and nothing comes below itself.
        yield from _placing(context, past, names, parent) if parent in past.tree else ()
    yield from _taking_away(context, past, root, names, frozenset(wanted))
    for block in (root, *wanted) if root in past.tree else ():
        yield partial(_write, past=past, block=block, now=names.now(block))


def _now(context: Context) -> BlockDocument:
    blocks = context.replica.state.blocks
    assert blocks is not None, "a document is made before it is restored"
    return blocks


def _bring_back(edit: Edit, past: BlockDocument, root: OpId, names: Names, block: OpId) -> None:
    tree = edit.blocks.tree
    if block not in tree:
        names.note(block, edit.next_id)
        type_ = past.blocks.type_of(block)
        edit.run(block_edits.insert_block(edit.blocks, edit.next_id, root, len(tree.children(root)), type_))
    elif not tree.is_alive(block):
        edit.run(block_edits.restore_block(edit.blocks, edit.next_id, block))


def _placing(context: Context, past: BlockDocument, names: Names, parent: OpId) -> Iterator[Step]:
    """Put the blocks below one where they were; those that stand in the right order already stay."""
    wanted, parent = [names.now(block) for block in past.tree.shown_children(parent)], names.now(parent)
    index_by_block = {block: i for i, block in enumerate(wanted)}
    here = [block for block in _now(context).tree.shown_children(parent) if block in index_by_block]
    kept = rising([index_by_block[block] for block in here])
    stays = {block for i, block in enumerate(here) if i in kept}
    before: OpId | None = None
    for block in wanted:
        if block not in stays:
            yield partial(_put_behind, block=block, parent=parent, before=before)
        before = block


def _put_behind(edit: Edit, block: OpId, parent: OpId, before: OpId | None) -> None:
    tree = edit.blocks.tree
    index = 0
    if before is not None:
        place = tree.place_of(before)
        assert place is not None, "it was put there"
        parent, index = place.parent, tree.index_of(before) + 1
    own = tree.place_of(block)
    if own is not None and (own.parent, own.slot) == (parent, Slot.CHILD):
        index -= tree.index_of(block) < index
    edit.run(block_edits.move_block(edit.blocks, edit.next_id, block, parent, index))


def _taking_away(
    context: Context, past: BlockDocument, root: OpId, names: Names, wanted: frozenset[OpId]
) -> Iterator[Step]:
    """Blocks that were not there: what was split off is merged again, and so is what was part of another."""
    stays = {names.now(block) for block in wanted}
    for block in list(_now(context).tree.in_order(root)):
        if block not in stays:
            yield partial(_take_away, past=past, names=names, wanted=wanted, block=block)


def _take_away(edit: Edit, past: BlockDocument, names: Names, wanted: frozenset[OpId], block: OpId) -> None:
    blocks = edit.blocks
    if not blocks.tree.is_alive(block) or blocks.tree.host_of(block) != block:
        return
    host = _host_of(blocks, past, block)
    if host in wanted and host is not None:
        edit.run(block_edits.merge_blocks(blocks, edit.next_id, names.now(host), block))
    else:
        edit.run(block_edits.delete_block(blocks, edit.next_id, block))


def _host_of(now: BlockDocument, past: BlockDocument, block: OpId) -> OpId | None:
    """The block that a text was part of, if it was."""
    if block in past.tree:
        return past.tree.host_of(block) if past.tree.is_alive(block) else None
    known = now.block(block)
    if not known.is_split:
        return None
    rope = now.ropes[known.rope_id]
    before: OpId | None = None
    for stretch in rope.stretches(now.counts(rope)):
        if stretch.block == block:
            break
        if stretch.block in past.tree:
            before = stretch.block
    return None if before is None or not past.tree.is_alive(before) else past.tree.host_of(before)


def _write(edit: Edit, past: BlockDocument, block: OpId, now: OpId) -> None:
    """Give a block the properties and the text that it had."""
    was, here = properties_of(past, block), properties_of(edit.blocks, now)
    for name in here.keys() - was.keys():
        edit.run(block_edits.delete_property(edit.blocks, edit.next_id, now, name))
    for name, value in was.items():
        if name not in here or type(value) is not type(here[name]) or value != here[name]:
            edit.run(block_edits.set_property(edit.blocks, edit.next_id, now, name, value))
    at = 0
    for part in text_diff(edit.blocks.text(now), past.text(block)):
        if "retain" in part:
            at += part["retain"]
            continue
        text, length = part.get("insert", ""), part.get("delete", 0)
        edit.run(block_edits.edit_text(edit.blocks, edit.next_id, now, at, length, text))
        at += len(text)
    for start, end, attributes in format_diff(edit.blocks.delta(now), past.delta(block)):
        edit.run(block_edits.format_text(edit.blocks, edit.next_id, now, start, end, attributes))
