"""Homes of blocks, and that whoever sees a partition has all of it and nothing else."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import ROOT, OpId, Slot, Stamp
from collabkernel.crdt.lww import LwwMap
from collabkernel.crdt.move_tree import Verdict
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.markers import marker
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_text import MARKER_KEY
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    Envelope,
    MapSet,
    NewDocument,
    Op,
    Purge,
    StoredEnvelope,
    TextEdit,
    TreeOp,
)
from collabkernel.document.partitions import Partitions, Sizes, cut
from collabkernel.document.room_state import RoomState
from tests.document.block_world import BODY, Typist, World
from tests.examples import examples

pytestmark = pytest.mark.core

SITE = 7
SMALL = Sizes(2, 6)


class Author:
    """One site that writes a document alone, and the partitions of it."""

    def __init__(self, types: list[str], sizes: Sizes = SMALL) -> None:
        self.document = BlockDocument()
        self.counter = 0
        self.partitions: Partitions | None = None
        self.do(NewDocument(ROOT, "body"))
        self.blocks = [self.append(type_) for type_ in types]
        self.partitions = Partitions(self.document, sizes)

    def do(self, op: Op) -> OpId:
        self.counter += 1
        op_id = OpId(SITE, self.counter)
        self.document.admit(op_id, Stamp(self.counter, SITE), op)
        if isinstance(op, TreeOp):
            assert self.document.judge(op_id, op, self.counter, self.counter - 1) is Verdict.APPLIED
        if self.partitions is not None:
            self.partitions.take(op_id, op)
        return op_id

    def append(self, type_: str = "paragraph") -> OpId:
        key = self.document.tree.key_at(BODY, Slot.CHILD, len(self.document.tree.children(BODY)), SITE)
        return self.do(BlockInsert(BODY, Slot.CHILD, key, type_))

    @property
    def homes(self) -> Partitions:
        assert self.partitions is not None
        return self.partitions

    def cut_anew(self) -> Partitions:
        self.partitions = Partitions(self.document, SMALL)
        return self.partitions

    def check(self) -> None:
        """Every block has one home, which has it."""
        members = [block for number in self.homes.numbers() for block in self.homes.members(number)]
        assert sorted(members) == sorted(row.id for row in self.document.tree.rows())
        for number in self.homes.numbers():
            assert {self.homes.home(block) for block in self.homes.members(number)} <= {number}


@given(st.lists(st.booleans(), max_size=60))
@examples(50)
def test_a_cut_keeps_sizes(is_section: list[bool]):
    cuts = cut(is_section, SMALL)

    assert (cuts[0], cuts[-1]) == (0, len(is_section))
    sizes = [end - start for start, end in pairwise(cuts)]
    assert all(2 <= size <= 6 for size in sizes) or len(sizes) == 1


def test_a_cut_falls_on_the_section_that_is_nearest_to_the_middle():
    assert cut([at in (3, 5, 6) for at in range(10)], SMALL) == [0, 3, 6, 10]


def test_an_insert_joins_its_neighbour_and_a_full_partition_is_divided():
    author = Author(["paragraph"] * 4)
    (number,) = author.homes.numbers()

    added = [author.append() for _ in range(3)]
    assert {author.homes.home(block) for block in added} == {number}
    divided = author.homes.divide()

    assert set(divided) == {number}
    assert sorted(divided[number]) == sorted(author.homes.numbers())
    assert len(divided[number]) == 2
    assert author.homes.divide() == {}
    author.check()
    order = [author.homes.home(block) for block in author.document.tree.in_order(BODY)]
    assert order == sorted(order, key=divided[number].index), "each is a run of the document"


def test_what_moved_stays_home_until_what_nobody_sees_is_cut_anew():
    author = Author(["paragraph"] * 12)
    homes = author.homes
    first, last = author.blocks[0], author.blocks[-1]
    before = homes.home(first)
    for index in (10, 11) * 3:
        key = author.document.tree.key_at(BODY, Slot.CHILD, index, SITE, first)
        author.do(BlockMove(first, BODY, Slot.CHILD, key))
    assert homes.home(first) == before != homes.home(last)

    assert homes.is_recut_due
    homes.recut(seen=())

    assert homes.home(first) == homes.home(last)
    assert not homes.is_recut_due
    author.check()


def test_what_somebody_sees_is_not_cut_anew():
    author = Author(["paragraph"] * 12)
    homes = author.homes
    seen = homes.home(author.blocks[0])
    assert seen is not None
    members = homes.members(seen)
    for block in author.blocks[:6]:
        author.do(BlockDelete(block))

    assert homes.is_recut_due
    homes.recut(seen={seen})

    assert homes.members(seen) == members
    author.check()


def test_a_block_without_a_place_has_no_home():
    author = Author(["paragraph"])
    lost = OpId(SITE, 99)
    author.document.admit(lost, Stamp(99, SITE), BlockInsert(BODY, Slot.CHILD, key_between(None, None, SITE), "code"))

    assert author.homes.home(lost) is None
    assert author.homes.of(MapSet(lost, "language", "r")) == ()


def test_the_first_block_of_a_rope_is_where_a_block_split_off_from_it_is():
    """Contents come with the first blocks of ropes, whose properties then aged where the block itself was not seen."""
    author = Author(["paragraph"] * 12)
    first, split = author.blocks[0], OpId(SITE, author.counter + 2)
    author.do(TextEdit(first, TextRope(SITE, policy=ROPE_POLICY).embed(0, marker(MARKER_KEY, split))))
    key = author.document.tree.key_at(BODY, Slot.CHILD, 12, SITE)
    author.do(BlockInsert(BODY, Slot.CHILD, key, "paragraph", split=first))
    homes = author.cut_anew()
    assert homes.home(first) != homes.home(split)

    assert first in homes.contents([homes.home(split)])
    both = tuple(sorted((homes.home(first), homes.home(split))))
    assert homes.of(MapSet(first, "level", 2)) == homes.of(TextEdit(first, b"")) == both
    assert homes.of(MapSet(split, "level", 2)) == (homes.home(split),)


def test_what_the_tree_tells_is_everybodys():
    author = Author(["paragraph"])
    (block,) = author.blocks
    home = author.homes.home(block)
    assert home is not None

    assert author.homes.of(BlockDelete(block)) is None
    assert author.homes.of(MapSet(block, "type", "code")) is None
    assert author.homes.of(MapSet(ROOT, "title", "live value")) is None
    assert author.homes.of(MapSet(block, "language", "r")) == (home,)
    assert author.homes.of(TextEdit(block, b"...")) == (home,)


def test_documents_as_long_as_books_are_cut_to_the_sizes_that_are_told():
    author = Author(["heading" if n % 7 == 0 else "paragraph" for n in range(1000)], Sizes())
    order = [author.homes.home(block) for block in author.blocks]

    starts = [at for at in range(1, 1000) if order[at] != order[at - 1]]

    assert len(starts) == len(author.homes) - 1
    assert all(at % 7 == 0 for at in starts)
    assert all(50 <= len(author.homes.members(number)) <= 200 for number in author.homes.numbers())


class Viewer:
    """Somebody who sees some partitions: a replica that is sent what they need, and contents when he first looks."""

    def __init__(self) -> None:
        self.document = BlockDocument(has_all_texts=False)
        self.sees: set[int] = set()

    def look(self, partitions: Partitions, number: int, server: BlockDocument) -> None:
        self.sees.add(number)
        for block in partitions.contents([number]):
            mine, theirs = self.document.block(block), server.block(block)
            mine.properties = LwwMap(theirs.properties.registers())
            rope = server.ropes.get(block)
            self.document.ropes.pop(block, None)
            if rope is not None:
                self.document.enter_rope(block, rope.encode_state())

    def take(self, stored: StoredEnvelope, i: int, needed: tuple[int, ...] | None) -> None:
        op = stored.envelope.ops[i]
        if needed is None or self.sees.intersection(needed):
            self.document.admit(stored.op_id(i), stored.stamp(i), op)
        if isinstance(op, TreeOp):
            self.document.judge(stored.op_id(i), op, stored.seq + i, stored.envelope.base)


@given(st.integers(0, 10**9))
@examples(15)
def test_who_sees_a_partition_has_all_of_it_and_nothing_else(seed: int):
    """Random histories with splits and merges; viewers look and look away, partitions are divided and cut anew."""
    rng = random.Random(seed)
    world = World(3)
    typist = Typist(world, rng)
    for _ in range(rng.randint(20, 80)):
        typist.edit(rng.choice(world.replicas), "ttsssmmxv")
        typist.network(rng.choice(world.replicas))
    world.mend()
    server = BlockDocument()
    partitions = Partitions(server, SMALL)
    viewers = [Viewer() for _ in range(3)]
    for stored in world.server.log:
        _log(server, partitions, viewers, stored)
        for old, parts in partitions.divide().items():
            for viewer in viewers:
                viewer.sees.update(parts if old in viewer.sees else ())
        viewer = rng.choice(viewers)
        if rng.random() < 0.2:
            viewer.look(partitions, rng.choice(partitions.numbers()), server)
        elif viewer.sees and rng.random() < 0.1:
            viewer.sees.discard(rng.choice(sorted(viewer.sees)))
        if partitions.is_recut_due:
            partitions.recut({number for viewer in viewers for number in viewer.sees})
    for viewer in viewers:
        assert list(viewer.document.tree.rows()) == list(server.tree.rows())
        for block in [block for number in viewer.sees for block in partitions.members(number)]:
            assert viewer.document.stretch(block) == server.stretch(block)
            assert viewer.document.block(block).properties.registers() == server.block(block).properties.registers()


def _log(server: BlockDocument, partitions: Partitions, viewers: list[Viewer], stored: StoredEnvelope) -> None:
    ops: Envelope = stored.envelope
    for i, op in enumerate(ops.ops):
        server.admit(stored.op_id(i), stored.stamp(i), op)
        if isinstance(op, TreeOp):
            server.judge(stored.op_id(i), op, stored.seq + i, ops.base)
        partitions.take(stored.op_id(i), op)
    for i, op in enumerate(ops.ops):
        for viewer in viewers:
            viewer.take(stored, i, partitions.of(op))


def test_purged_blocks_have_no_home_and_a_partition_stays_though_none_of_it_is_left():
    author = Author(["paragraph"] * 12)
    homes = author.homes
    number = homes.home(author.blocks[0])
    assert number is not None
    gone = [block for block in homes.members(number) if block != BODY]
    for block in gone:
        author.do(BlockDelete(block))
    op = Purge(ROOT, tuple(sorted(gone)))

    RoomState(blocks=author.document).purge(99, op)
    homes.take(OpId(1, 1), op)

    assert {homes.home(block) for block in gone} == {None}
    assert homes.members(number) == [block for block in (BODY,) if homes.home(block) == number]
    assert homes.contents(homes.numbers()) == sorted([BODY, *[each for each in author.blocks if each not in gone]])
    author.check()


def test_what_is_purged_before_it_is_told_is_divided_as_if_it_were_gone():
    author = Author(["paragraph"] * 5)
    (number,) = author.homes.numbers()
    added = [author.append() for _ in range(3)]
    for block in (*author.blocks, *added):
        author.do(BlockDelete(block))
    op = Purge(ROOT, tuple(sorted([*author.blocks, *added])))
    RoomState(blocks=author.document).purge(99, op)

    assert author.homes.divide() == {number: (number,)}
    author.homes.take(OpId(1, 1), op)

    author.check()


def test_a_full_partition_that_a_purge_empties_is_not_divided():
    author = Author(["paragraph"] * 5)
    added = [author.append() for _ in range(3)]
    for block in added:
        author.do(BlockDelete(block))
    op = Purge(ROOT, tuple(added))
    RoomState(blocks=author.document).purge(99, op)
    author.homes.take(OpId(1, 1), op)

    assert author.homes.divide() == {}


def test_what_is_purged_before_it_is_told_is_no_part_of_what_is_cut_anew():
    author = Author(["paragraph"] * 12)
    gone = author.blocks[:6]
    for block in gone:
        author.do(BlockDelete(block))
    op = Purge(ROOT, tuple(gone))
    RoomState(blocks=author.document).purge(99, op)

    assert author.homes.is_recut_due
    author.homes.recut(seen=())
    author.homes.take(OpId(1, 1), op)

    assert {author.homes.home(block) for block in gone} == {None}
    author.check()
