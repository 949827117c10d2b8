"""Texts that read otherwise since blocks came, went or moved."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.tree.rekeys import fresh_keys
from collabkernel.document import block_edits as edits
from collabkernel.document.block_retold import retold, unmoved
from tests.document.block_world import BODY, Replica, World

pytestmark = pytest.mark.core


def world_of(*texts: str) -> tuple[World, Replica, list[OpId]]:
    """Replicas that have the same blocks, and the first of them."""
    world = World(2)
    world.server.keeps_order = False
    ann = world.replicas[0]
    blocks = [ann.do(edits.insert_block, BODY, i, "paragraph", text) for i, text in enumerate(texts)]
    world.settle()
    return world, ann, blocks


def after(replica: Replica, do: Callable[[], object]) -> set[OpId]:
    """What reads otherwise after something was done, and really does, in all the blocks that were there."""
    old = {block: replica.document.text(block) for block in replica.blocks}
    replica.document.tree.watch()
    do()
    found = retold(replica.document, replica.document.tree.changes())
    changed = {block for block in replica.blocks if block in old and replica.document.text(block) != old[block]}
    assert changed <= found
    return found


def test_a_split_takes_the_end_from_the_block_before():
    _, ann, (a, _) = world_of("hello", "there")

    assert after(ann, lambda: ann.do(edits.split_block, a, 2)) == {a}
    assert after(ann, lambda: ann.do(edits.split_block, a, 2)) == set()
    assert after(ann, lambda: ann.do(edits.split_block, ann.blocks[2], 1)) == {ann.blocks[2]}


def test_a_split_that_is_refused_gives_it_back():
    _, ann, (a,) = world_of("hello")
    ann.do(edits.split_block, a, 2)
    insert = OpId(ann.site, ann.counter - 1)

    changes = ann.pending.drop([insert])

    assert retold(ann.document, changes) == {a}
    assert ann.document.text(a) == "hello"


def test_a_merge_changes_the_host_and_taking_it_back_both():
    _, ann, (a, b) = world_of("a", "b")

    assert after(ann, lambda: ann.do(edits.merge_blocks, a, b)) == {a}
    assert after(ann, ann.undo_last) == {a, b}


def test_a_merged_part_that_goes_with_a_split_changes_both():
    _, ann, (a, b) = world_of("aa", "bb")
    ann.do(edits.merge_blocks, a, b)

    found = after(ann, lambda: ann.do(edits.split_block, a, 1))

    assert found == {a, ann.blocks[1]}


def test_moves_and_deletes_of_whole_blocks_change_no_text():
    _, ann, (a, b) = world_of("a", "b")

    assert after(ann, lambda: ann.do(edits.move_block, a, BODY, 1)) == set()
    assert after(ann, lambda: ann.do(edits.delete_block, b)) == set()
    assert after(ann, lambda: ann.do(edits.insert_block, BODY, 0, "paragraph", "c")) == set()


def test_the_delete_of_a_merged_part_changes_its_host():
    _, ann, (a, b) = world_of("a", "b")
    ann.do(edits.merge_blocks, a, b)

    assert after(ann, lambda: ann.do(edits.delete_block, b)) == {a}
    assert ann.texts == ["a"]
    assert after(ann, lambda: ann.do(edits.restore_block, b)) == {a}


def told_as_moved(replica: Replica, do: Callable[[], object]) -> set[OpId]:
    """The blocks that stand elsewhere after something was done."""
    tree = replica.document.tree
    tree.watch()
    do()
    changes = tree.changes()
    return set(changes) - unmoved(tree, changes)


def test_a_rekey_moves_nobody_but_those_who_change_their_order():
    world, ann, blocks = world_of("a", "b", "c", "d", "e")
    tree = ann.document.tree

    def rekey(order: str) -> None:
        keys = zip([blocks["abcde".index(name)] for name in order], fresh_keys(5, 1), strict=True)
        tree.rekey(BODY, Slot.CHILD, tuple(keys), seq=world.server.head + 1, site=1, base=world.server.head)

    assert told_as_moved(ann, lambda: rekey("abcde")) == set()
    assert told_as_moved(ann, lambda: rekey("abcde")) == set()
    assert told_as_moved(ann, lambda: rekey("abdce")) in ({blocks[2]}, {blocks[3]})
    assert ann.texts == ["a", "b", "d", "c", "e"]


def test_blocks_that_were_moved_are_told_whatever_the_others_did():
    _, ann, (a, b, c, d) = world_of("a", "b", "c", "d")

    def swap() -> None:
        ann.do(edits.move_block, a, BODY, 3)
        ann.do(edits.move_block, b, BODY, 3)

    assert told_as_moved(ann, swap) == {a, b}
    assert ann.texts == ["c", "d", "a", "b"]
    assert told_as_moved(ann, lambda: ann.do(edits.move_block, d, BODY, 0)) == {d}
    assert told_as_moved(ann, lambda: ann.do(edits.move_block, c, a, 0)) == {c}
