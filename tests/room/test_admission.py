"""What an envelope must be before it may be stored."""

from __future__ import annotations

import time

import pytest

from collabkernel.crdt.clock import hlc_from_ms
from collabkernel.crdt.ids import ROOT, OpId, Side, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.parse import write_uint
from collabkernel.document.live_tree import LiveTree, TextNode
from collabkernel.document.operations import (
    BlockInsert,
    ContainerKind,
    Envelope,
    ListDelete,
    ListInsert,
    MapDelete,
    MapSet,
    NewContainer,
    NewDocument,
    Op,
    TextEdit,
    document_id,
)
from collabkernel.document.room_state import RoomState
from collabkernel.errors import InvalidYjsUpdateError, TooDeepError, TooLargeError, UnknownTargetError
from collabkernel.limits import Limits
from collabkernel.room.admission import apply_envelope, check_limits, lower_stamp, op_bytes
from collabkernel.room.text_work import TextSizes
from tests.room.drive import HLC0, T0_MS

pytestmark = pytest.mark.core


def envelope(*ops: Op, hlc: int = HLC0) -> Envelope:
    return Envelope(1, 0, hlc, ops)


def take(tree: LiveTree, sent: Envelope) -> None:
    """Admit an envelope of site 1 to a room with these live values."""
    state = RoomState(tree)
    apply_envelope(state, TextSizes(state), 1, sent)


@pytest.mark.parametrize(
    ("op", "added_bytes"),
    [
        (MapSet(ROOT, "key", "value"), 48 + 3 + 5),
        (MapDelete(ROOT, "é"), 48 + 2),
        (ListInsert(ROOT, None, Side.RIGHT, b"1234"), 48 + 4),
        (ListDelete(ROOT, OpId(1, 1)), 48),
        (TextEdit(ROOT, bytes(10)), 48 + 10),
    ],
)
def test_operations_are_counted_by_what_they_bring(op: Op, added_bytes: int) -> None:
    assert op_bytes(op, Limits()) == added_bytes


@pytest.mark.parametrize("op", [MapSet(ROOT, "é" * 6, 1), MapDelete(ROOT, "k" * 11), MapSet(ROOT, "k", "v" * 21)])
def test_keys_and_values_over_their_size_are_refused(op: Op) -> None:
    with pytest.raises(TooLargeError):
        op_bytes(op, Limits(key_bytes=10, value_bytes=20))


def test_a_room_takes_what_fits_and_no_more() -> None:
    tree = LiveTree()
    sent = envelope(MapSet(ROOT, "k", "v" * 100))
    limits = Limits(room_bytes=tree.size_bytes + 48 + 1 + 100)

    check_limits(sent, RoomState(tree), 0, limits)
    take(tree, sent)
    assert tree.size_bytes == limits.room_bytes
    with pytest.raises(TooLargeError):
        check_limits(envelope(MapSet(ROOT, "l", 1)), RoomState(tree), 0, limits)


def test_a_stamp_in_time_stays_and_one_ahead_comes_down_above_the_rooms() -> None:
    on_time = envelope(MapSet(ROOT, "k", 1), hlc=hlc_from_ms(T0_MS + 1999))
    assert lower_stamp(on_time, 0, T0_MS, 2000) is on_time

    ahead = envelope(MapSet(ROOT, "k", 1), hlc=hlc_from_ms(T0_MS + 2001))
    assert lower_stamp(ahead, 0, T0_MS, 2000).hlc == hlc_from_ms(T0_MS) + 1
    assert lower_stamp(ahead, hlc_from_ms(T0_MS + 5), T0_MS, 2000).hlc == hlc_from_ms(T0_MS + 5) + 1
    assert lower_stamp(ahead, ahead.hlc + 7, T0_MS, 2000) is ahead, "the room is further ahead itself"


def test_an_envelope_that_fails_half_way_leaves_nothing() -> None:
    tree = LiveTree(depth_max=2)
    new_text = NewContainer(ContainerKind.TEXT)
    take(tree, Envelope(1, 0, HLC0, (MapSet(ROOT, "t", new_text),)))
    author = TextRope(1)
    first, second = author.insert(0, "one"), author.insert(3, " two")
    apply_envelope(
        RoomState(tree), TextSizes(RoomState(tree)), 1, Envelope(2, 0, HLC0 + 1, (TextEdit(OpId(1, 1), first),))
    )
    before, size_bytes, nodes = tree.to_json(), tree.size_bytes, len(tree.nodes)

    for bad, error in [
        (MapSet(OpId(9, 9), "a", 1), UnknownTargetError),
        (TextEdit(OpId(1, 1), b"\xff"), InvalidYjsUpdateError),
        (MapSet(OpId(1, 4), "deep", NewContainer(ContainerKind.MAP)), TooDeepError),
    ]:
        ops = (TextEdit(OpId(1, 1), second), MapSet(ROOT, "m", NewContainer(ContainerKind.MAP)), bad)
        with pytest.raises(error):
            take(_depth(tree, 1), Envelope(3, 0, HLC0 + 2, ops))
        assert (tree.to_json(), tree.size_bytes, len(tree.nodes)) == (before, size_bytes, nodes)

    apply_envelope(
        RoomState(_depth(tree, 2)),
        TextSizes(RoomState(tree)),
        1,
        Envelope(3, 0, HLC0 + 2, (TextEdit(OpId(1, 1), second),)),
    )
    assert tree.to_json() == {"t": "one two"}


def _depth(tree: LiveTree, depth_max: int) -> LiveTree:
    tree.depth_max = depth_max
    return tree


def test_a_full_room_can_be_emptied() -> None:
    """Deletes were refused as everything else: a full room stayed full."""
    tree = LiveTree()
    limits = Limits(room_bytes=1000)
    take(tree, envelope(MapSet(ROOT, "k", "v" * 940)))

    check_limits(envelope(MapDelete(ROOT, "k")), RoomState(tree), 0, limits)
    with pytest.raises(TooLargeError):
        check_limits(envelope(MapDelete(ROOT, "k"), MapSet(ROOT, "l", 1)), RoomState(tree), 0, limits)
    with pytest.raises(TooLargeError):
        check_limits(envelope(*[MapDelete(ROOT, f"{n}") for n in range(9)]), RoomState(tree), 0, limits)


def test_keys_are_counted_in_bytes() -> None:
    """33,000 keys of 256 emoji counted as 10 MB and made a snapshot of 37 MB, which no client takes."""
    tree = LiveTree()
    sizes = TextSizes(RoomState(tree))
    for n in (1, 2):
        apply_envelope(RoomState(tree), sizes, 1, envelope(MapSet(ROOT, "👩" * 200, n), hlc=HLC0 + n))

    assert tree.size_bytes >= 800
    assert tree.size_bytes < 1000


TEXT = OpId(1, 1)


def text_of_pieces(count: int) -> LiveTree:
    """A room with a text of so many pieces, as it is after loading: typed backwards, one character at a time."""
    tree = LiveTree()
    tree.tells_changes = False
    apply_envelope(
        RoomState(tree), TextSizes(RoomState(tree)), 1, envelope(MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)))
    )
    structs = [b"\x04\x01\x04text\x01a", *[b"\x44\x07" + write_uint(n) + b"\x01a" for n in range(count - 1)]]
    node = tree.nodes[TEXT]
    assert isinstance(node, TextNode)
    node.rope.restore(b"\x01" + write_uint(count) + b"\x07\x00" + b"".join(structs) + b"\x00")
    node.rope.make_ready()
    return tree


def refusal_cost_s(tree: LiveTree) -> float:
    """Processor time of an envelope whose last edit is refused, and of the next good one; the best of three."""
    node = tree.nodes[TEXT]
    assert isinstance(node, TextNode)
    sizes, author = TextSizes(RoomState(tree)), TextRope.from_state(node.rope.encode_state(), 9)
    good = TextEdit(TEXT, author.insert(0, "x"))
    bad = TextEdit(TEXT, b"\x00\x00")
    costs = []
    for _ in range(3):
        began = time.process_time()
        with pytest.raises(InvalidYjsUpdateError):
            apply_envelope(RoomState(tree), sizes, 9, envelope(good, good, hlc=HLC0 + 1))
        with pytest.raises(InvalidYjsUpdateError):
            apply_envelope(RoomState(tree), sizes, 9, envelope(good, bad, hlc=HLC0 + 1))
        costs.append(time.process_time() - began)
    apply_envelope(RoomState(tree), sizes, 9, envelope(good, hlc=HLC0 + 1))
    return min(costs)


@pytest.mark.heavy
def test_refusing_half_an_envelope_costs_no_walk_over_the_text() -> None:
    """[good edit, bad edit] held the event loop for 9 s in a text of 400,000 pieces."""
    small, large = refusal_cost_s(text_of_pieces(100)), refusal_cost_s(text_of_pieces(10_000))

    assert large < 10 * small + 0.001


def test_containers_do_not_pass_the_size_of_a_room() -> None:
    """A room counted 109 bytes for a text that took 5.7 kB: its limit was passed fifty times over."""
    tree = LiveTree()
    limits = Limits(room_bytes=100_000)
    texts = [MapSet(ROOT, f"{n}", NewContainer(ContainerKind.TEXT)) for n in range(60)]

    with pytest.raises(TooLargeError):
        check_limits(envelope(*texts), RoomState(tree), 0, limits)
    take(tree, envelope(*texts[:30]))
    check_limits(envelope(), RoomState(tree), 0, limits)
    typed = [TextEdit(OpId(1, 1 + n), TextRope(1).insert(0, "x")) for n in range(30)]
    check_limits(envelope(*typed[:3]), RoomState(tree), 0, limits)
    with pytest.raises(TooLargeError):
        check_limits(envelope(*typed), RoomState(tree), 0, limits)


def test_first_letters_are_counted_by_what_they_are_typed_in() -> None:
    """A text takes 7 kB, that of a block 200 bytes: not even one of the same counter passes for the other."""
    state, limits = RoomState(), Limits(room_bytes=14_000)
    made = [MapSet(ROOT, key, NewContainer(ContainerKind.TEXT)) for key in "ab"]
    apply_envelope(state, TextSizes(state), 1, envelope(*made))
    insert = BlockInsert(document_id("body"), Slot.CHILD, key_between(None, None, 9), "paragraph")
    letter = TextRope(9).insert(0, "x")
    blocks = [NewDocument(ROOT, "body"), insert, insert, *[TextEdit(OpId(9, n), letter) for n in (2, 3)]]

    check_limits(envelope(*blocks), state, 0, limits)
    with pytest.raises(TooLargeError):
        check_limits(envelope(insert, insert, *[TextEdit(OpId(1, n), letter) for n in (1, 2)]), state, 0, limits)


def test_the_keys_of_shared_containers_are_bounded_in_an_envelope() -> None:
    """Naming a thousand of a kilobyte held the event loop for a quarter of a second."""
    tree, limits = LiveTree(), Limits(shared_name_bytes=3000)
    shared = [MapSet(ROOT, f"{n:01000}", NewContainer(ContainerKind.MAP, shared=True)) for n in range(4)]

    check_limits(envelope(*shared[:3]), RoomState(tree), 0, limits)
    with pytest.raises(TooLargeError, match="keys of shared containers"):
        check_limits(envelope(*shared), RoomState(tree), 0, limits)
    check_limits(envelope(*[MapSet(ROOT, f"{n:01000}", 1) for n in range(4)]), RoomState(tree), 0, limits)
