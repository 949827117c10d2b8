"""What edits of texts cost: counted right, metered, bounded, and known again after an encoding."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs_parse import write_uint
from collabkernel.document.live_tree import LiveTree, TextNode
from collabkernel.document.operations import ContainerKind, Envelope, MapSet, NewContainer, TextEdit
from collabkernel.limits import Limits
from collabkernel.room.text_work import CUT_BYTES, RoomSizes, cuts, rewound_bytes, work
from tests.room.drive import HLC0, Driver, envelope

pytestmark = pytest.mark.core

TEXT = OpId(101, 1)


def deletes(client: int, *clocks: int) -> bytes:
    """An update that deletes single units of a client's."""
    ranges = b"".join([write_uint(clock) + b"\x01" for clock in clocks])
    return b"\x00\x01" + write_uint(client) + write_uint(len(clocks)) + ranges


def test_typing_cuts_nothing_and_edits_in_the_midst_do() -> None:
    rope = TextRope(7)
    assert cuts(rope.insert(0, "hello world")) == 1
    assert cuts(rope.insert(11, "!")) == 0
    assert cuts(rope.insert(12, "!")) == 0
    assert cuts(rope.insert(5, ",")) == 1
    assert cuts(rope.insert(6, " dear")) == 0
    assert cuts(rope.delete(0, 3)) == 1
    assert cuts(rope.splice(0, 5, "farewell")) >= 2
    assert cuts(rope.format(2, 6, {"bold": True})) == 2
    assert cuts(deletes(9, 2, 4, 6)) == 3


@pytest.mark.parametrize("update", [b"", b"\x01", b"\x00\x01", b"\xff" * 20, b"\x01\x01\x07\x00\x09\x01", b"\x02\x00"])
def test_what_is_no_update_is_left_to_the_validator(update: bytes) -> None:
    assert cuts(update) in (0, 1, 2)


def text_room(limits: Limits, contents: str) -> tuple[Driver, int, TextRope]:
    world, rope = Driver(limits), TextRope(101)
    ann = world.join()
    typed = rope.insert(0, contents)
    made = MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT))
    world.submit(ann, envelope(1, made, TextEdit(TEXT, typed)))
    return world, ann, rope


def test_many_cuts_in_a_long_text_are_refused_in_time() -> None:
    """A frame of 31 KB was nine seconds of the server."""
    world, ann, _ = text_room(Limits(text_work=100_000_000), "x" * 200_000)
    clocks = range(0, 20_000, 2)

    world.submit(ann, envelope(3, TextEdit(TEXT, deletes(101, *clocks))))
    world.submit(ann, envelope(4, *[TextEdit(TEXT, deletes(101, n)) for n in clocks]))
    world.submit(ann, envelope(10_004, TextEdit(TEXT, deletes(101, *clocks[:400]))))

    assert world.rejects(ann) == [(3, "too-large", True), (4, "too-large", True)]
    assert [counter for counter, _ in world.acks(ann)] == [1, 10_004]


def test_work_is_metered_as_operations_are() -> None:
    world, ann, _ = text_room(Limits(ops_per_s=100, ops_burst=1000), "x" * 200_000)

    for n in range(20):
        world.submit(ann, envelope(3 + n, TextEdit(TEXT, deletes(101, *range(1000 * n, 1000 * n + 800, 2)))))

    counters = [counter for counter, _ in world.acks(ann)]
    assert 5 < len(counters) < 12
    assert world.rejects(ann) == [(counters[-1] + 1, "rate", False)]


def test_a_refusal_that_goes_back_over_a_text_is_charged_for_it() -> None:
    world, ann, rope = text_room(Limits(ops_per_s=100, ops_burst=3000), "x" * 200_000)
    good, bad = TextEdit(TEXT, rope.insert(0, "y")), TextEdit(TEXT, b"\x00\x00")
    tree = world.room._tree

    assert rewound_bytes(tree, (good,)) == 0
    assert rewound_bytes(tree, (good, bad)) >= 200_000
    before = tree.size_bytes
    for n in range(5):
        world.submit(ann, envelope(3 + 2 * n, good, bad))

    assert tree.size_bytes == before
    assert [code for _, code, _ in world.rejects(ann)] == ["invalid-yjs-update"] * 4 + ["rate"]


def test_a_lone_edit_that_is_refused_never_goes_back_over_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    world, ann, rope = text_room(Limits(), "hello")
    monkeypatch.setattr(TextRope, "rewind", lambda *_: pytest.fail("gone back over"))
    typed = TextEdit(TEXT, rope.insert(0, "y"))

    world.submit(ann, envelope(3, typed, MapSet(OpId(9, 9), "k", 1)))
    world.submit(ann, envelope(5, MapSet(ROOT, "a", 1), TextEdit(TEXT, b"\x00\x00"), MapSet(ROOT, "b", 1)))
    world.submit(ann, envelope(8, typed))

    assert [counter for counter, _, _ in world.rejects(ann)] == [3, 5]
    assert world.room._tree.to_json() == {"t": "yhello"}


def test_texts_are_counted_by_their_cuts_until_their_size_is_known() -> None:
    tree = LiveTree()
    sizes, rope = RoomSizes(tree), TextRope(101)
    sizes.apply(TEXT, Stamp(1, 101), MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)))
    empty = tree.size_bytes
    sizes.apply(OpId(101, 2), Stamp(2, 101), TextEdit(TEXT, rope.insert(0, "x" * 10_000)))
    whole = tree.size_bytes
    assert 10_000 < whole - empty < 10_000 + 2 * CUT_BYTES

    sizes.apply(OpId(9, 1), Stamp(3, 9), TextEdit(TEXT, deletes(101, *range(0, 1000, 2))))
    assert tree.size_bytes - whole >= 500 * CUT_BYTES

    node = tree.nodes[TEXT]
    assert isinstance(node, TextNode)
    for n in range(3000):
        sizes.apply(OpId(101, 3 + n), Stamp(4 + n, 101), TextEdit(TEXT, rope.insert(len(rope), "x")))
        rope.take_step()
    assert tree.size_bytes - empty < len(node.rope.encode_state()) + 3000 * 40


def test_work_is_cuts_times_size() -> None:
    tree = LiveTree()
    tree.apply(TEXT, Stamp(1, 101), MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)))
    tree.apply(OpId(101, 2), Stamp(2, 101), TextEdit(TEXT, TextRope(101).insert(0, "x" * 100_000)))
    op = TextEdit(TEXT, deletes(101, 1, 3, 5))

    assert 300_000 <= work(tree, Envelope(3, 0, HLC0, (op, op))) // 2 <= 300_300
    assert work(tree, Envelope(3, 0, HLC0, (MapSet(ROOT, "k", 1), TextEdit(OpId(5, 5), op.update)))) == 0


@pytest.mark.parametrize("rest", [b"\x00\x00", b"\xff\xff\xff\xff\x7f", b"\x84\x65\x04\x01z\x00"])
def test_an_update_that_begins_with_a_known_clock_is_not_stored_unread(rest: bytes) -> None:
    """It was taken for a resend and stored; at the next load it went to yrs as it was."""
    world, ann, _ = text_room(Limits(), "hello")
    known = b"\x01\x01" + write_uint(101) + b"\x00" + rest

    world.submit(ann, envelope(3, TextEdit(TEXT, known)))
    world.submit(ann, envelope(4, MapSet(ROOT, "a", 1), TextEdit(TEXT, known)))

    assert world.rejects(ann) == [(3, "invalid-yjs-update", True), (4, "invalid-yjs-update", True)]
