"""Random histories of replicas that split, merge, move, delete, undo and type at once, with a slow network between."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.move_tree import MoveTree
from collabkernel.crdt.text_delta import Delta
from collabkernel.document.block import Block, Placed
from collabkernel.document.block_document import BlockDocument
from tests.document.block_world import BODY, Server, Typist, World, fold, state
from tests.examples import examples, seeds

pytestmark = pytest.mark.core

EVERYTHING = "ttttddssmmixvpu"


def history(seed: int, kinds: str, keeps_order: bool = True) -> tuple[World, Typist]:
    """Some replicas do some edits, each as late as it likes; then all is sent, read and mended."""
    rng = random.Random(seed)
    world = World(rng.randint(3, 8))
    world.server.keeps_order = keeps_order
    typist = Typist(world, rng)
    for _ in range(rng.randint(5, 60)):
        replica = rng.choice(world.replicas)
        typist.edit(replica, kinds)
        typist.network(replica)
    world.mend()
    return world, typist


def placed(document: BlockDocument) -> dict[OpId, Placed | None]:
    """What the keeper goes by."""
    return {block.id: block.placed for block in document.blocks.values()}


def letters(document: BlockDocument) -> str:
    """All text of all blocks, deleted ones too."""
    return "".join(document.text(block) for block in document.blocks if document.tree.host_of(block) == block)


def shown(document: BlockDocument) -> str:
    """All text that a reader sees, in document order."""
    return "".join(document.text(block) for block in document.tree.in_order(BODY))


@given(st.integers(0, 10**9))
@examples(15)
def test_all_end_with_the_same_and_no_letter_is_lost_or_there_twice(seed: int):
    world, typist = history(seed, EVERYTHING)

    for replica in world.replicas:
        assert state(replica.document) == state(world.server.document)
    found = letters(world.server.document)
    assert len(set(found)) == len(found)
    assert set(found) >= typist.all_letters - typist.deleted


@given(st.integers(0, 10**9))
@examples(8)
def test_nothing_is_hidden_by_splits_and_merges(seed: int):
    world, typist = history(seed, "ttddssmm")

    assert set(shown(world.server.document)) >= typist.all_letters - typist.deleted


@pytest.mark.parametrize("seed", seeds(range(1, 11)))
def test_letters_stay_where_they_were_typed(seed: int):
    """However many split what others type in, each letter is read between those that it was typed between."""
    world, typist = history(seed, "tttdss")

    at = {letter: index for index, letter in enumerate(shown(world.server.document))}

    assert set(at) >= typist.all_letters - typist.deleted
    assert [pair for pair in typist.beside if set(pair) <= at.keys() and at[pair[0]] > at[pair[1]]] == []


@given(st.integers(0, 10**9))
@examples(8)
def test_each_rope_has_its_letters_in_the_order_of_typing(seed: int):
    """Whatever became of the blocks."""
    world, typist = history(seed, EVERYTHING, keeps_order=False)
    found: dict[str, tuple[int, int]] = {}
    for number, rope in enumerate(world.server.document.ropes.values()):
        found |= {letter: (number, index) for index, letter in enumerate(rope.rope.text)}

    for left, right in typist.beside:
        if left in found and right in found and found[left][0] == found[right][0]:
            assert found[left] < found[right]


@given(st.integers(0, 10**9))
@examples(6)
def test_a_replay_and_a_snapshot_give_the_same(seed: int):
    world, _ = history(seed, EVERYTHING)
    document = world.server.document

    replayed = Server()
    for stored in world.server.log:
        fold(replayed.document, stored, replayed.verdicts)
    assert replayed.verdicts == world.server.verdicts
    assert state(replayed.document) == state(document)
    assert replayed.document.size_bytes == document.size_bytes
    assert placed(replayed.document) == placed(document)

    restored = copied(document)
    assert placed(restored) == placed(document)
    assert state(restored) == state(document)


@given(st.integers(0, 10**9))
@examples(8)
def test_what_is_told_of_texts_is_what_changed(seed: int):
    """As long as no block comes or goes: deltas of shown texts make the new ones of the old ones."""
    rng = random.Random(seed)
    world = World(3)
    typist = Typist(world, rng)
    for _ in range(15):
        typist.edit(world.replicas[0], "tissm")
    world.mend()
    reader = world.replicas[1]
    before = {block: reader.document.text(block) for block in reader.blocks}
    reader.changes.clear()
    for _ in range(10):
        typist.edit(rng.choice(world.replicas[::2]), "td")
    world.settle()

    for change in reader.changes:
        before[change.target] = changed(before[change.target], list(change.delta))
    assert before == {block: reader.document.text(block) for block in reader.blocks}


def changed(text: str, delta: Delta) -> str:
    """What a delta makes of a text."""
    found, at = "", 0
    for part in delta:
        length = part.get("retain", part.get("delete", 0))
        found += part.get("insert", text[at : at + length] if "retain" in part else "")
        at += length
    return found + text[at:]


@given(st.integers(0, 10**9), st.integers(1, 60))
@examples(8)
def test_a_fold_that_goes_on_from_a_snapshot_knows_the_same(seed: int, cut: int):
    world, _ = history(seed, EVERYTHING)
    whole, restored = Server(), BlockDocument()
    for i, stored in enumerate(world.server.log):
        fold(whole.document, stored, {})
        if i == cut:
            restored = copied(whole.document)
        elif i > cut:
            fold(restored, stored, {})

    if len(world.server.log) > cut:
        assert placed(restored) == placed(whole.document)
        assert state(restored) == state(whole.document)


def copied(document: BlockDocument) -> BlockDocument:
    """As a snapshot stores it."""
    copy = BlockDocument(tree=MoveTree.restore(document.tree.rows(), document.tree.rekeys()))
    for block in document.blocks.values():
        entered = Block(block.id, block.rope_id, block.properties.registers())
        entered.placed = block.placed
        copy.enter(entered)
    for id, rope in document.ropes.items():
        copy.enter_rope(id, rope.encode_state())
    return copy
