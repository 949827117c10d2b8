"""Blocks of a snapshot are made when somebody asks for one, and are what they were."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.lww import LwwMap
from collabkernel.document.block import TYPE, Block, Placed
from collabkernel.document.block_registry import BlockRegistry, StoredBlocks, StoredTypes

pytestmark = pytest.mark.core

ROOT_ID = OpId(0, 9)
A, B, C = OpId(5, 1), OpId(5, 2), OpId(5, 3)
HLC = 1_795_000_000_000 << 16


def registry() -> BlockRegistry:
    """A document, and three blocks of which the second was split off from the first."""
    made = BlockRegistry()
    types = StoredTypes(["paragraph", "code"], [0, 1, 2, 1], [HLC, HLC + 1, HLC + 2], [5, 6, 5])
    made.store([ROOT_ID, A, B, C], StoredBlocks(types, {2: A}, {2: Placed(4, 5, 3)}))
    made[ROOT_ID] = Block(ROOT_ID, ROOT_ID, [(TYPE, (Stamp(0, 0), "document"))])
    return made


def test_a_block_is_made_once_when_it_is_asked_for():
    blocks = registry()
    assert [block.id for block in blocks.made()] == [ROOT_ID]

    block = blocks[B]

    assert (block.id, block.type, block.rope_id, block.placed) == (B, "code", A, Placed(4, 5, 3))
    assert block.properties.register(TYPE) == (Stamp(HLC + 1, 6), "code")
    assert blocks[B] is block is blocks.get(B)
    assert [block.id for block in blocks.made()] == [ROOT_ID, B]


def test_it_reads_as_a_dict():
    blocks = registry()

    assert list(blocks) == list(blocks.keys()) == [ROOT_ID, A, B, C]
    assert len(blocks) == 4
    assert A in blocks
    assert OpId(5, 9) not in blocks
    assert blocks.get(OpId(5, 9)) is None
    with pytest.raises(KeyError):
        blocks[OpId(5, 9)]
    assert [(id, block.type) for id, block in blocks.items()] == [
        (ROOT_ID, "document"),
        (A, "paragraph"),
        (B, "code"),
        (C, "paragraph"),
    ]
    blocks.pop(C)
    blocks.pop(C)
    assert C not in blocks


@pytest.mark.parametrize("is_made", [False, True])
def test_types_and_ropes_are_told_the_same_of_blocks_that_are_made(is_made: bool):
    blocks = registry()
    if is_made:
        assert len(dict(blocks.items())) == 4

    assert [blocks.type_of(id) for id in blocks] == ["document", "paragraph", "code", "paragraph"]
    assert [blocks.rope_of(id) for id in blocks] == [ROOT_ID, A, A, C]
    assert blocks.split_ropes() == [A]


def test_what_is_changed_on_a_block_is_told():
    blocks = registry()
    blocks[A].properties.apply_set(TYPE, Stamp(HLC + 9, 5), "heading")

    assert blocks.type_of(A) == "heading"

    blocks[OpId(7, 1)] = Block(OpId(7, 1), C, LwwMap([(TYPE, (Stamp(HLC + 9, 7), "code"))]))
    assert blocks.split_ropes() == [A, C]


def test_rows_without_a_type_may_stand_anywhere():
    types = StoredTypes(["code"], [0, 1, 0, 1], [HLC, HLC + 1], [5, 6])

    assert [types.at(row) for row in range(4)] == [None, (Stamp(HLC, 5), "code"), None, (Stamp(HLC + 1, 6), "code")]
    assert types.rows_without() == [0, 2]


def test_what_was_split_off_is_told_with_its_rope_whether_it_is_made_or_not():
    registry = BlockRegistry()
    registry[OpId(2, 1)] = Block(OpId(2, 1), OpId(2, 1), [])
    registry[OpId(2, 2)] = Block(OpId(2, 2), OpId(2, 1), [])

    assert registry.splits() == {OpId(2, 2): OpId(2, 1)}
    assert registry.split_ropes() == [OpId(2, 1)]
