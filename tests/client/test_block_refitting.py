"""Edits of blocks that are made again where what they name was purged meanwhile."""

from __future__ import annotations

import pytest

from collabkernel.client.block_refitting import refitted_block
from collabkernel.crdt.ids import ROOT, OpId, Slot
from collabkernel.document import block_edits as edits
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import BlockDelete, BlockInsert, BlockMove, MapDelete, MapSet, TextEdit
from collabkernel.errors import PurgedError
from tests.document.block_world import BODY
from tests.document.test_block_purging import Author, reread

pytestmark = pytest.mark.core

NEW = OpId(9, 9)


@pytest.fixture
def both() -> tuple[BlockDocument, BlockDocument, list[OpId]]:
    """Four blocks, the second below the first, and the third below that, as they stood, and without these three."""
    author = Author("one", "two", "three", "four")
    one, two, three, _ = author.blocks
    author.ann.do(edits.move_block, two, one, 0)
    author.ann.do(edits.move_block, three, two, 0)
    author.world.settle()
    stood_in = reread(author.document)
    author.delete(one)
    author.purge(one)
    return stood_in, author.document, author.blocks


def test_an_insert_below_what_is_gone_comes_to_where_that_stood(both):
    stood_in, now, (one, two, three, four) = both
    place = {block: stood_in.tree.place_of(block) for block in (one, two, three)}
    op = BlockInsert(three, Slot.CHILD, "k", "paragraph")

    fitted = refitted_block(op, {}, stood_in, now)

    key = place[one].key + place[two].key + place[three].key + "k"
    assert fitted == BlockInsert(BODY, Slot.CHILD, key, "paragraph")
    assert refitted_block(BlockInsert(four, Slot.INLINE, "k", "t"), {}, stood_in, now) == BlockInsert(
        four, Slot.INLINE, "k", "t"
    )
    # What it was put below was made again under another name: it is there.
    now.enter(stood_in.block(two).__class__(NEW, NEW, []))
    assert refitted_block(op, {two: NEW}, stood_in, now) == BlockInsert(
        two, Slot.CHILD, place[three].key + "k", "paragraph"
    )


def test_of_what_was_merged_into_it_an_insert_comes_to_where_that_stood_as_a_block():
    author = Author("one", "two")
    one, two = author.blocks
    author.ann.do(edits.merge_blocks, one, two)
    author.world.settle()
    stood_in = reread(author.document)
    author.delete(one)
    author.purge(one)

    fitted = refitted_block(BlockInsert(two, Slot.INLINE, "k", "t"), {}, stood_in, author.document)

    assert fitted is not None
    assert (fitted.target, fitted.slot) == (BODY, Slot.CHILD)  # type: ignore[union-attr]  # an insert stays one


def test_a_deletion_wins_over_properties_and_deletes(both):
    stood_in, now, (one, _, _, four) = both

    for op in (MapSet(one, "k", 1), MapDelete(one, "k"), BlockDelete(one)):
        assert refitted_block(op, {}, stood_in, now) is None
    for op in (MapSet(four, "k", 1), MapSet(ROOT, "k", 1), BlockDelete(four), TextEdit(four, b"")):
        assert refitted_block(op, {}, stood_in, now) is op


def test_who_types_moves_or_splits_is_told(both):
    stood_in, now, (one, two, _, four) = both

    for op in (
        TextEdit(one, b""),
        BlockMove(two, BODY, Slot.CHILD, "k"),
        BlockMove(four, two, Slot.CHILD, "k"),
        BlockInsert(BODY, Slot.CHILD, "k", "paragraph", two),
    ):
        with pytest.raises(PurgedError):
            refitted_block(op, {}, stood_in, now)


def test_what_never_had_a_place_is_left_as_it_is(both):
    stood_in, now, (one, *_) = both
    op = BlockDelete(one)

    assert refitted_block(op, {}, None, now) is op
    assert refitted_block(op, {}, stood_in, None) is op
    assert refitted_block(BlockDelete(NEW), {}, stood_in, now) == BlockDelete(NEW)


def test_below_what_has_no_place_nothing_is_lifted(both):
    stood_in, now, _ = both
    stood_in.enter(stood_in.block(BODY).__class__(NEW, NEW, []))

    with pytest.raises(PurgedError):
        refitted_block(BlockInsert(NEW, Slot.CHILD, "k", "t"), {}, stood_in, now)
