"""What an envelope must be before it may be stored."""

from __future__ import annotations

import pytest

from collabkernel.crdt.clock import hlc_from_ms
from collabkernel.crdt.ids import ROOT, OpId, Side
from collabkernel.crdt.text import TextRope
from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import (
    ContainerKind,
    Envelope,
    ListDelete,
    ListInsert,
    MapDelete,
    MapSet,
    NewContainer,
    Op,
    TextEdit,
)
from collabkernel.errors import InvalidYjsUpdateError, TooDeepError, TooLargeError, UnknownTargetError
from collabkernel.limits import Limits
from collabkernel.room.admission import apply_envelope, check_limits, lower_stamp, op_bytes
from collabkernel.room.text_work import RoomSizes
from tests.room.drive import HLC0, T0_MS

pytestmark = pytest.mark.core


def envelope(*ops: Op, hlc: int = HLC0) -> Envelope:
    return Envelope(1, 0, hlc, ops)


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

    check_limits(sent, tree, 0, limits)
    apply_envelope(tree, RoomSizes(tree), 1, sent)
    assert tree.size_bytes == limits.room_bytes
    with pytest.raises(TooLargeError):
        check_limits(envelope(MapSet(ROOT, "l", 1)), tree, 0, limits)


def test_a_stamp_in_time_stays_and_one_ahead_comes_down_above_the_rooms() -> None:
    on_time = envelope(MapSet(ROOT, "k", 1), hlc=hlc_from_ms(T0_MS + 1999))
    assert lower_stamp(on_time, 0, T0_MS, 2000) is on_time

    ahead = envelope(MapSet(ROOT, "k", 1), hlc=hlc_from_ms(T0_MS + 2001))
    assert lower_stamp(ahead, 0, T0_MS, 2000).hlc == hlc_from_ms(T0_MS) + 1
    assert lower_stamp(ahead, hlc_from_ms(T0_MS + 5), T0_MS, 2000).hlc == hlc_from_ms(T0_MS + 5) + 1


def test_an_envelope_that_fails_half_way_leaves_nothing() -> None:
    tree = LiveTree(depth_max=2)
    new_text = NewContainer(ContainerKind.TEXT)
    apply_envelope(tree, RoomSizes(tree), 1, Envelope(1, 0, HLC0, (MapSet(ROOT, "t", new_text),)))
    author = TextRope(1)
    first, second = author.insert(0, "one"), author.insert(3, " two")
    apply_envelope(tree, RoomSizes(tree), 1, Envelope(2, 0, HLC0 + 1, (TextEdit(OpId(1, 1), first),)))
    before, size_bytes, nodes = tree.to_json(), tree.size_bytes, len(tree.nodes)

    for bad, error in [
        (MapSet(OpId(9, 9), "a", 1), UnknownTargetError),
        (TextEdit(OpId(1, 1), b"\xff"), InvalidYjsUpdateError),
        (MapSet(OpId(1, 4), "deep", NewContainer(ContainerKind.MAP)), TooDeepError),
    ]:
        ops = (TextEdit(OpId(1, 1), second), MapSet(ROOT, "m", NewContainer(ContainerKind.MAP)), bad)
        with pytest.raises(error):
            apply_envelope(_depth(tree, 1), RoomSizes(tree), 1, Envelope(3, 0, HLC0 + 2, ops))
        assert (tree.to_json(), tree.size_bytes, len(tree.nodes)) == (before, size_bytes, nodes)

    apply_envelope(_depth(tree, 2), RoomSizes(tree), 1, Envelope(3, 0, HLC0 + 2, (TextEdit(OpId(1, 1), second),)))
    assert tree.to_json() == {"t": "one two"}


def _depth(tree: LiveTree, depth_max: int) -> LiveTree:
    tree.depth_max = depth_max
    return tree


def test_a_full_room_can_be_emptied() -> None:
    """Deletes were refused as everything else: a full room stayed full."""
    tree = LiveTree()
    limits = Limits(room_bytes=1000)
    apply_envelope(tree, RoomSizes(tree), 1, envelope(MapSet(ROOT, "k", "v" * 940)))

    check_limits(envelope(MapDelete(ROOT, "k")), tree, 0, limits)
    with pytest.raises(TooLargeError):
        check_limits(envelope(MapDelete(ROOT, "k"), MapSet(ROOT, "l", 1)), tree, 0, limits)
    with pytest.raises(TooLargeError):
        check_limits(envelope(*[MapDelete(ROOT, f"{n}") for n in range(9)]), tree, 0, limits)


def test_keys_are_counted_in_bytes() -> None:
    """33,000 keys of 256 emoji counted as 10 MB and made a snapshot of 37 MB, which no client takes."""
    tree = LiveTree()
    sizes = RoomSizes(tree)
    for n in (1, 2):
        apply_envelope(tree, sizes, 1, envelope(MapSet(ROOT, "👩" * 200, n), hlc=HLC0 + n))

    assert tree.size_bytes >= 800
    assert tree.size_bytes < 1000
