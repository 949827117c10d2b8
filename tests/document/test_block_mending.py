"""What the keeper mends, and what it leaves alone since somebody meant it."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.document import block_edits as edits
from collabkernel.document.block_mending import empty_parts, misordered_splits, stranded_parts
from collabkernel.document.operations import BlockMove, BlockRekey, Envelope
from collabkernel.limits import ORDER_KEY_BYTES_MAX
from tests.document.block_world import BODY, KEEPER, World

pytestmark = pytest.mark.core


def world_of(text: str, replicas: int = 3) -> tuple[World, OpId]:
    """Replicas with one block, and a keeper who waits to be asked."""
    world = World(replicas)
    world.server.keeps_order = False
    block = world.replicas[0].do(edits.insert_block, BODY, 0, "paragraph", text)
    world.settle()
    return world, block


def texts(world: World) -> list[str]:
    world.settle()
    return world.replicas[0].texts


def is_tidy(world: World) -> bool:
    document = world.server.document
    return not misordered_splits(document, KEEPER) and not stranded_parts(document, KEEPER)


def test_splits_that_crossed_stand_in_the_order_of_their_text():
    world, block = world_of("abcdef")
    for replica, index in zip(world.replicas, (1, 3, 5), strict=True):
        replica.do(edits.split_block, block, index)
    for replica in reversed(world.replicas):
        replica.send()
    assert sorted(texts(world)) == ["a", "bc", "de", "f"]

    world.mend()

    assert texts(world) == ["a", "bc", "de", "f"]
    assert is_tidy(world)


def test_what_was_put_behind_a_split_stays_behind_it():
    world, block = world_of("abcdef", 2)
    ann, bob = world.replicas
    for replica, index, name in ((ann, 4, "A"), (bob, 2, "B")):
        replica.do(edits.split_block, block, index)
        replica.do(edits.insert_block, BODY, 2, "paragraph", name)
    texts(world)

    world.mend()

    found = texts(world)
    assert [text for text in found if text.islower()] == ["ab", "cd", "ef"]
    assert found.index("A") > found.index("ef")


def test_one_author_who_splits_twice_leaves_nothing_to_mend():
    world, block = world_of("abcdef", 2)
    ann = world.replicas[0]
    ann.do(edits.split_block, block, 4)
    ann.do(edits.split_block, block, 2)

    assert texts(world) == ["ab", "cd", "ef"]
    assert is_tidy(world)


def test_a_block_that_was_moved_stays_there_with_what_is_split_off_then():
    world, block = world_of("abcdef", 2)
    ann, bob = world.replicas
    ann.do(edits.split_block, block, 4)
    world.settle()
    bob.do(edits.move_block, block, BODY, 1)
    world.settle()
    ann.do(edits.split_block, block, 2)

    assert texts(world) == ["ef", "ab", "cd"]
    assert is_tidy(world)


def test_a_split_that_was_moved_on_purpose_stays_there():
    world, block = world_of("abcdef", 2)
    ann, bob = world.replicas
    ann.do(edits.split_block, block, 3)
    world.settle()
    bob.do(edits.move_block, bob.blocks[1], BODY, 0)

    assert texts(world) == ["def", "abc"]
    assert is_tidy(world)


def test_what_was_merged_into_a_block_follows_the_end_that_was_split_off():
    world, block = world_of("abcd", 2)
    ann, bob = world.replicas
    other = ann.do(edits.insert_block, BODY, 1, "paragraph", "xy")
    world.settle()
    ann.do(edits.split_block, block, 2)
    bob.do(edits.merge_blocks, block, other)
    assert "abxy" in texts(world)

    world.mend()

    assert texts(world) == ["ab", "cdxy"]
    assert is_tidy(world)


def test_where_keys_are_as_long_as_may_be_they_are_made_anew_before_anything_follows():
    """Such a key, which any writer may choose, ended the room, and again whenever it was loaded."""
    world, block = world_of("abcd", 2)
    ann, bob = world.replicas
    other, pest = (ann.do(edits.insert_block, BODY, 1, "paragraph", text) for text in ("xy", "-"))
    world.settle()
    made = OpId(ann.site, ann.counter + 1)
    ann.do(edits.split_block, block, 2)
    bob.do(edits.merge_blocks, block, other)
    world.settle()
    key = key_between(None, None, bob.site)
    longest = key[:-1] + "xa0" * ((ORDER_KEY_BYTES_MAX - len(key)) // 3) + key[-1]
    bob.run(edits.Plan((BlockMove(pest, made, Slot.INLINE, longest),)))
    world.settle()
    document = world.server.document
    assert document.tree.place_of(pest).key == longest

    assert stranded_parts(document, KEEPER) == []
    ((parent, slot),) = document.tree.rebalances_due()
    rekey = BlockRekey(parent, slot, tuple(document.tree.plan_rebalance(parent, slot, KEEPER)))
    head = world.server.head
    world.server.take(KEEPER, Envelope(head + 1, head, head + 1, (rekey,)))
    world.mend()

    assert texts(world) == ["ab", "cd-xy"]
    assert is_tidy(world)


def test_what_was_merged_by_one_who_knew_of_the_split_stays():
    world, block = world_of("abcd", 2)
    ann, bob = world.replicas
    other = ann.do(edits.insert_block, BODY, 1, "paragraph", "xy")
    world.settle()
    ann.do(edits.split_block, block, 2)
    world.settle()
    bob.do(edits.merge_blocks, block, other)

    assert texts(world) == ["abxy", "cd"]
    assert is_tidy(world)


def test_halves_that_two_merged_back_at_once_read_on():
    world, block = world_of("abcdef")
    ann, bob, _ = world.replicas
    ann.do(edits.split_block, block, 4)
    ann.do(edits.split_block, block, 2)
    world.settle()
    _, middle, last = ann.blocks
    bob.do(edits.merge_blocks, block, middle)
    ann.do(edits.merge_blocks, block, last)
    ann.send()

    world.mend()

    assert texts(world) == ["abcdef"]
    assert is_tidy(world)


def test_merged_blocks_that_are_empty_go_when_nobody_can_miss_them():
    world, block = world_of("ab", 2)
    ann = world.replicas[0]
    other = ann.do(edits.insert_block, BODY, 1, "paragraph", "xy")
    ann.do(edits.merge_blocks, block, other)
    world.settle()
    document = world.server.document
    assert empty_parts(document, world.server.head) == []
    ann.do(edits.edit_text, block, 2, 2, "")
    world.settle()

    assert empty_parts(document, 0) == []
    (delete,) = empty_parts(document, world.server.head)

    assert delete.target == other
