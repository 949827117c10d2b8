"""What people do to blocks, each alone and against another: split, merge, delete, move, type, undo."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.document import block_edits as edits
from collabkernel.document.operations import BlockDelete, BlockInsert, BlockMove, BlockRekey, Envelope, TextEdit
from collabkernel.errors import InvalidValueError
from tests.document.block_world import BODY, KEEPER, Replica, World, state

pytestmark = pytest.mark.core


def world_of(*texts: str, replicas: int = 2) -> tuple[World, list[OpId]]:
    """Replicas that all have the same blocks."""
    world = World(replicas)
    ann = world.replicas[0]
    blocks = [ann.do(edits.insert_block, BODY, i, "paragraph", text) for i, text in enumerate(texts)]
    world.settle()
    for replica in world.replicas:
        replica.undo.clear()
        replica.changes.clear()
    return world, blocks


def settled(world: World) -> list[str]:
    """The texts that everybody sees when all is mended."""
    world.mend()
    for replica in world.replicas:
        assert state(replica.document) == state(world.server.document)
    return world.replicas[0].texts


def type_at(replica: Replica, block: OpId, index: int, text: str) -> None:
    replica.do(edits.edit_text, block, index, 0, text)


def test_a_block_is_inserted_with_text_and_properties():
    world, _ = world_of("a")
    ann = world.replicas[0]

    made = ann.do(edits.insert_block, BODY, 0, "heading", "Title", {"level": 2})

    assert settled(world) == ["Title", "a"]
    assert ann.document.block(made).properties.get("level") == 2
    ann.do(edits.set_property, made, "level", 3)
    ann.do(edits.delete_property, made, "level")
    assert "level" not in ann.document.block(made).properties


@pytest.mark.parametrize("index", range(6))
def test_enter_splits_what_a_block_shows(index: int):
    world, (block,) = world_of("hello")
    ann = world.replicas[0]

    ann.do(edits.split_block, block, index)

    assert settled(world) == ["hello"[:index], "hello"[index:]]
    ann.undo_last()
    assert settled(world) == ["hello"]


def test_a_block_keeps_its_name_with_its_text():
    world, (block,) = world_of("hello")
    ann = world.replicas[0]

    ann.do(edits.split_block, block, 0)
    assert ann.document.text(block) == "hello"
    ann.do(edits.split_block, block, 5, "quote")

    assert ann.texts == ["", "hello", ""]
    assert not any(isinstance(op, TextEdit) for sent in ann.outbox for op in sent.ops)
    assert [ann.document.block(each).type for each in ann.blocks] == ["paragraph", "paragraph", "quote"]


def test_the_half_that_is_split_off_comes_next_in_reading_order():
    world, (block, child) = world_of("hello", "child")
    ann = world.replicas[0]
    ann.do(edits.move_block, child, block, 0)

    ann.do(edits.split_block, block, 2)

    assert settled(world) == ["he", "llo", "child"]


def test_a_merge_shows_one_text_and_undo_parts_it():
    world, (a, b, c) = world_of("one", "two", "three")
    ann, bob = world.replicas

    ann.do(edits.merge_blocks, a, b)
    ann.do(edits.merge_blocks, a, c)
    assert settled(world) == ["onetwothree"]
    type_at(bob, a, 3, "|")
    type_at(bob, a, 7, "|")
    bob.do(edits.edit_text, a, 1, 9, "")
    assert settled(world) == ["oree"]
    ann.undo_last()
    ann.undo_last()
    assert settled(world) == ["o", "", "ree"]


def test_a_merged_block_is_split_anywhere():
    for index in range(7):
        world, (a, b, c) = world_of("ab", "cd", "ef")
        ann = world.replicas[0]
        ann.do(edits.merge_blocks, a, b)
        ann.do(edits.merge_blocks, a, c)

        ann.do(edits.split_block, a, index)

        assert settled(world) == ["abcdef"[:index], "abcdef"[index:]]
        ann.undo_last()
        assert settled(world) == ["abcdef"]


def test_a_merge_that_is_taken_back_goes_where_the_block_was():
    world, (a, b, c) = world_of("a", "b", "c")
    ann, bob = world.replicas
    ann.do(edits.merge_blocks, a, b)
    bob.do(edits.insert_block, BODY, 2, "paragraph", "new")
    settled(world)

    ann.undo_last()

    assert settled(world) == ["a", "b", "new", "c"]
    assert c in ann.blocks


def test_formatting_and_replacing_across_merged_parts():
    world, (a, b) = world_of("abc", "def")
    ann = world.replicas[0]
    ann.do(edits.merge_blocks, a, b)

    ann.do(edits.format_text, a, 2, 4, {"bold": True})
    ann.do(edits.edit_text, a, 1, 4, "XY", {"italic": True})

    assert settled(world) == ["aXYf"]
    assert ann.document.delta(a) == [
        {"insert": "a"},
        {"insert": "XY", "attributes": {"italic": True}},
        {"insert": "f"},
    ]


def test_what_is_outside_is_refused():
    world, (a, b) = world_of("abc", "def")
    document, next_id = world.replicas[0].document, world.replicas[0].next_id

    for index, length in [(4, 0), (-1, 0), (2, 2)]:
        with pytest.raises(IndexError):
            edits.edit_text(document, next_id, a, index, length, "x")
    with pytest.raises(IndexError):
        edits.format_text(document, next_id, a, 2, 4, {"bold": True})
    with pytest.raises(IndexError):
        edits.split_block(document, next_id, a, 4)
    with pytest.raises(InvalidValueError):
        edits.merge_blocks(document, next_id, a, a)
    with pytest.raises(InvalidValueError):
        edits.move_block(document, next_id, b, b, 0)


def test_delete_and_restore_bring_back_all_that_was_below():
    world, (a, b) = world_of("one", "two")
    ann = world.replicas[0]
    ann.do(edits.move_block, b, a, 0)
    ann.do(edits.delete_block, a)
    assert settled(world) == []

    ann.undo_last()

    assert settled(world) == ["one", "two"]


def test_a_delete_wins_against_typing_and_restore_has_the_edits():
    world, (a, _b) = world_of("hello", "there")
    ann, bob = world.replicas
    ann.do(edits.delete_block, a)
    ann.send()
    type_at(bob, a, 5, " world")
    assert settled(world) == ["there"]
    (typed,) = [change for change in ann.changes if change.action == "text"]
    assert not ann.document.tree.is_alive(typed.target)

    bob.do(edits.restore_block, typed.target)

    assert settled(world) == ["hello world", "there"]


def test_what_was_below_a_deleted_block_is_restored_alone():
    world, (a, b, _c) = world_of("a", "b", "c")
    ann, bob = world.replicas
    ann.do(edits.move_block, b, a, 0)
    settled(world)
    ann.do(edits.delete_block, a)
    settled(world)

    bob.do(edits.restore_block, b)

    assert settled(world) == ["b", "c"]
    bob.undo_last()
    assert settled(world) == ["c"]
    assert edits.restore_block(bob.document, bob.next_id, BODY) == edits.Plan()


def test_moves_are_taken_back():
    world, (a, b, c) = world_of("a", "b", "c")
    ann = world.replicas[0]
    ann.do(edits.move_block, a, BODY, 2)
    ann.do(edits.move_block, c, b, 0)
    assert settled(world) == ["b", "c", "a"]

    ann.undo_last()
    ann.undo_last()

    assert settled(world) == ["a", "b", "c"]


def test_two_split_one_block_while_a_third_types_in_it():
    for first in (1, 4, 5, 9):
        for second in range(1, 10, 2):
            world, (block,) = world_of("0123456789", replicas=3)
            ann, bob, eve = world.replicas
            bob.do(edits.split_block, block, second)
            ann.do(edits.split_block, block, first)
            type_at(eve, block, 5, "XYZ")
            ann.send()

            texts = settled(world)

            assert "".join(texts) == "01234XYZ56789"
            cuts = {len(texts[0]), len(texts[0] + texts[1])}
            assert len(texts) == 3
            assert all(cut in (first, first + 3) or cut in (second, second + 3) for cut in cuts)


def test_one_splits_a_block_while_another_merges_the_next_into_it():
    for ann_first in (True, False):
        world, (a, b) = world_of("hello", "there")
        ann, bob = world.replicas
        ann.do(edits.split_block, a, 2)
        bob.do(edits.merge_blocks, a, b)
        (ann if ann_first else bob).send()

        assert settled(world) == ["he", "llothere"]


def test_two_merge_at_once():
    world, (a, b, _) = world_of("a", "b", "c")
    ann, bob = world.replicas
    ann.do(edits.merge_blocks, a, b)
    bob.do(edits.merge_blocks, b, world.replicas[0].blocks[1])

    assert settled(world) == ["abc"]


def test_one_merges_a_block_while_another_deletes_it():
    world, (a, b) = world_of("a", "b")
    ann, bob = world.replicas
    ann.do(edits.merge_blocks, a, b)
    bob.do(edits.delete_block, b)
    ann.send()

    assert settled(world) == ["ab"]


def test_one_merges_into_a_block_that_another_deletes():
    world, (a, b) = world_of("a", "b")
    ann, bob = world.replicas
    ann.do(edits.merge_blocks, a, b)
    bob.do(edits.delete_block, a)
    ann.send()

    assert settled(world) == ["b"]


def test_the_steps_of_a_split():
    world, (block,) = world_of("hello")
    ann = world.replicas[0]

    plan = edits.split_block(ann.document, ann.next_id, block, 2)

    made = OpId(ann.site, ann.next_id.counter + 1)
    mark, insert = plan.steps
    assert mark == edits.TextMark(block, 2, made)
    assert isinstance(insert, BlockInsert)
    assert insert.split == block
    assert plan.inverse is not None
    ann.run(plan)
    (merge,) = plan.inverse(ann.document, ann.next_id).steps
    assert isinstance(merge, BlockMove)
    assert (merge.target, merge.parent) == (made, block)


def rekey(world: World) -> None:
    """The keeper gives the blocks at the top other keys."""
    server = world.server
    keys = server.document.tree.plan_rebalance(BODY, Slot.CHILD, KEEPER)
    server.take(KEEPER, Envelope(server.head + 1, server.head, server.head + 1, (BlockRekey(BODY, Slot.CHILD, keys),)))
    world.settle()


def test_what_is_taken_back_after_a_rekey_goes_where_it_was():
    world, (a, b, _, _) = world_of("a", "b", "c", "d")
    ann, bob = world.replicas
    ann.do(edits.move_block, b, BODY, 3)
    bob.do(edits.delete_block, a)
    world.settle()

    rekey(world)
    ann.undo_last()
    assert settled(world) == ["b", "c", "d"]
    bob.undo_last()

    assert settled(world) == ["a", "b", "c", "d"]


def test_a_merge_is_taken_back_also_when_the_empty_block_has_gone():
    world, (a, b) = world_of("a", "")
    ann = world.replicas[0]
    ann.do(edits.merge_blocks, a, b)
    world.settle()
    server = world.server
    server.take(KEEPER, Envelope(server.head + 1, server.head, server.head + 1, (BlockDelete(b),)))
    world.settle()

    ann.undo_last()
    assert settled(world) == ["a", ""]

    ann.do(edits.delete_block, b)
    assert settled(world) == ["a"]
