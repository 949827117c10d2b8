"""Which deleted blocks go, which have to stay for others, and that nobody sees a difference."""

from __future__ import annotations

import random

import pytest

from collabkernel.crdt.ids import OpId, Slot, Stamp
from collabkernel.document import block_edits as edits
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_purging import going, purge_blocks, trash_needs
from collabkernel.document.operations import BlockDelete, BlockInsert, BlockMove, Envelope, MapSet, Op, Purge, TextEdit
from collabkernel.document.room_state import RoomState
from collabkernel.errors import InvalidOperationError, UnknownReferenceError, UnknownTargetError
from collabkernel.wire.room_state import decode_room, encode_parts, join_parts
from tests.document.block_world import BODY, KEEPER, Replica, Typist, World, fold
from tests.examples import seeds

pytestmark = pytest.mark.core


class Author:
    """One replica that writes a document, and what its server has."""

    def __init__(self, *texts: str) -> None:
        self.world = World(1)
        self.ann: Replica = self.world.replicas[0]
        self.blocks = [
            self.ann.do(edits.insert_block, BODY, at, "paragraph", text, {"n": at}) for at, text in enumerate(texts)
        ]
        self.world.settle()

    @property
    def document(self) -> BlockDocument:
        return self.world.server.document

    def delete(self, *blocks: OpId) -> None:
        for block in blocks:
            self.ann.do(edits.delete_block, block)
        self.world.settle()

    def keeper_deletes(self, block: OpId) -> None:
        head = self.world.server.head
        self.world.server.take(KEEPER, Envelope(head + 1, head, head + 1, (BlockDelete(block),)))
        self.world.settle()

    def split(self, block: OpId, index: int) -> OpId:
        made = self.ann.do(edits.split_block, block, index)
        self.world.settle()
        return OpId(made.site, made.counter + 1)

    def purge(self, *named: OpId) -> set[OpId]:
        """What goes, of blocks that are named."""
        before = set(self.document.blocks)
        RoomState(blocks=self.document).purge(1, Purge(OpId(0, 0), tuple(sorted(named))))
        return before - set(self.document.blocks)


def reread(document: BlockDocument) -> BlockDocument:
    """The document as a snapshot has it."""
    found = decode_room(join_parts(encode_parts(RoomState(blocks=document), 1, 1)), None)[0].blocks
    assert found is not None
    return found


def test_a_deleted_block_goes_with_its_text_and_properties_and_what_is_below_it():
    author = Author("one", "two", "three", "four")
    one, two, three, four = author.blocks
    author.ann.do(edits.move_block, three, two, 0)
    author.delete(two)
    size_bytes = author.document.size_bytes

    assert author.purge(two) == {two, three}

    assert author.document.text(one) == "one"
    assert set(author.document.ropes) == {one, four}
    assert two not in author.document.tree
    assert size_bytes - author.document.size_bytes > 1400
    for document in (author.document, reread(author.document)):
        assert [line.text for line in document.outline(BODY)] == ["one", "four"]
        assert set(document.blocks) == {BODY, one, four}


def test_what_is_alive_again_stays_and_so_does_what_died_with_another_and_what_is_unknown():
    author = Author("one", "two", "three")
    one, two, three = author.blocks
    author.ann.do(edits.move_block, three, two, 0)
    author.delete(one, two)
    author.ann.do(edits.restore_block, one)
    author.world.settle()

    assert author.purge(BODY, one, three, OpId(9, 9)) == set()
    assert author.purge(two) == {two, three}


def test_a_rope_goes_with_all_its_blocks_or_not_at_all():
    author = Author("abcdef", "other")
    block, other = author.blocks
    second = author.split(block, 2)
    third = author.split(second, 2)
    author.delete(block, second, other)

    assert author.purge(block, second, other) == {other}
    assert author.document.text(third) == "ef"
    author.delete(third)
    assert author.purge(block, third) == set()
    assert author.purge(block, second, third) == {block, second, third}
    assert not author.document.ropes


def test_text_of_a_dead_block_is_never_shown_as_that_of_a_living_one():
    author = Author("abcdef")
    (block,) = author.blocks
    second = author.split(block, 3)
    author.delete(second)

    author.purge(second)

    assert author.document.text(block) == "abc"
    assert reread(author.document).text(block) == "abc"


def test_where_something_that_stays_was_deleted_the_place_stays():
    author = Author("outer", "inner", "split")
    outer, inner, split = author.blocks
    author.ann.do(edits.move_block, inner, outer, 0)
    author.ann.do(edits.move_block, split, inner, 0)
    half = author.split(split, 2)
    author.ann.do(edits.move_block, half, BODY, 0)
    author.delete(split, outer)

    assert author.purge(outer, split) == set()
    assert author.document.tree.last_place_of(split) is not None
    author.delete(half)
    assert author.purge(outer, split, half) == {outer, inner, split, half}


def test_what_the_keeper_took_away_goes_with_what_it_was_merged_into():
    author = Author("host", "", "plain")
    host, empty, plain = author.blocks
    author.ann.do(edits.merge_blocks, host, empty)
    author.world.settle()
    author.keeper_deletes(empty)
    author.keeper_deletes(plain)

    assert author.purge(empty, plain) == set()
    author.delete(host)
    assert author.purge(empty) == set()
    assert author.purge(host, empty) == {host, empty}


def test_whatever_names_it_afterwards_is_refused():
    author = Author("one", "two")
    one, two = author.blocks
    author.delete(one)
    author.purge(one)
    state, late = RoomState(blocks=author.document), OpId(9, 1)
    key = author.document.tree.key_at(BODY, Slot.CHILD, 0, 9)

    refused: list[tuple[Op, type[InvalidOperationError]]] = [
        (BlockDelete(one), UnknownTargetError),
        (BlockMove(one, BODY, Slot.CHILD, key), UnknownTargetError),
        (BlockMove(two, one, Slot.CHILD, key), UnknownReferenceError),
        (BlockInsert(one, Slot.CHILD, key, "paragraph"), UnknownReferenceError),
        (BlockInsert(BODY, Slot.CHILD, key, "paragraph", one), UnknownReferenceError),
        (MapSet(one, "n", 1), UnknownTargetError),
        (TextEdit(one, b"\0\0"), UnknownTargetError),
    ]
    for op, error in refused:
        with pytest.raises(error):
            state.apply(late, Stamp(99, 9), op)


def test_a_partial_replica_forgets_what_it_knew():
    author = Author("one", "two")
    one, two = author.blocks
    author.delete(one)
    author.document.known = {one, two}

    author.purge(one)

    assert author.document.known == {two}


def test_a_block_without_a_place_goes_with_the_rope_it_was_split_off_from():
    author = Author("abcdef", "two")
    block, _ = author.blocks
    half = author.split(block, 3)
    author.delete(block, half)
    author.document.tree.forget([half])
    assert half in author.document.blocks

    assert author.purge(block) == {block, half}


def test_those_go_that_need_no_other_but_such():
    a, b, c, d = (OpId(1, n) for n in range(1, 5))

    assert going({a: {b}, b: {a}, c: {d}, d: {None}}) == [a, b]
    assert going({a: {b}, b: {c}, c: set()}) == [a, b, c]
    assert going({}) == []


def test_of_a_purge_of_nothing_nothing_is_looked_at():
    author = Author("one")

    assert trash_needs(author.document, author.blocks) == ({}, {})
    purge_blocks(author.document, ())


def shown(document: BlockDocument) -> list[object]:
    """What anybody sees, and what decides of it what later operations do."""
    tree = document.tree
    rows = [row for row in tree.rows() if tree.is_alive(row.id)]
    texts = [(document.text(row.id), document.delta(row.id)) for row in rows]
    registers = [document.blocks[row.id].properties.registers() for row in rows]
    return [rows, texts, registers, [each for each in tree.rekeys() if tree.is_alive(each[0])]]


class Purged:
    """The same log, on a server that purges most of what is deleted now and then."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.document = BlockDocument()
        self.document.tells_changes = False
        self.read = 0
        self.gone = 0

    def follow(self) -> None:
        for stored in self.world.server.log[self.read :]:
            fold(self.document, stored, {})
        self.read = len(self.world.server.log)
        assert shown(self.document) == shown(self.world.server.document)

    def purge(self) -> None:
        before = len(self.document.blocks)
        purge_blocks(self.document, [id for id, _ in self.document.tree.trashed() if self.rng.random() < 0.8])
        self.gone += before - len(self.document.blocks)
        assert shown(self.document) == shown(self.world.server.document)
        assert shown(reread(self.document)) == shown(self.document)


@pytest.mark.parametrize("seed", seeds(range(60)))
def test_whoever_purges_sees_what_he_saw_and_goes_on_as_if_he_had_not(seed: int):
    rng = random.Random(seed)
    world = World(2)
    typist, purged = Typist(world, rng), Purged(world, rng)
    for _ in range(120):
        replica = rng.choice(world.replicas)
        typist.edit(replica, "ttdssmmiixxxvvpuuu")
        typist.network(replica)
        if rng.random() < 0.2:
            world.settle()
            purged.follow()
            purged.purge()
            for replica in world.replicas:
                replica.undo.clear()  # what an undo would bring back may be gone
    assert purged.gone > 3
    assert all(block in purged.document.tree for block in purged.document.blocks)
