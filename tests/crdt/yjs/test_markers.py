"""Markers: every update that would repeat, forge or delete one is refused."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.markers import Markers, marker, marker_name
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.crdt.yjs.update import YjsState
from collabkernel.errors import InvalidValueError, InvalidYjsUpdateError

pytestmark = pytest.mark.core

ANN, BOB = 7, 9
BLOCK = OpId(ANN, 3)


def rope(client: int) -> TextRope:
    return TextRope(client, policy=ROPE_POLICY)


def split_rope() -> tuple[TextRope, TextRope, list[bytes]]:
    """Ann's text with a marker in it, and Bob's copy."""
    ann, bob = rope(ANN), rope(BOB)
    updates = [ann.insert(0, "hello"), ann.embed(2, marker("block", BLOCK))]
    for update in updates:
        bob.apply(update, ANN)
    return ann, bob, updates


def test_a_marker_names_its_block():
    assert marker("block", BLOCK) == {"block": "7.3"}
    assert marker_name("block", {"block": "7.3"}) == BLOCK


@pytest.mark.parametrize(
    "embed",
    [
        {},
        {"block": 7},
        {"other": "7.3"},
        {"block": "7.3", "more": 1},
        {"block": "7"},
        {"block": "07.3"},
        {"block": "7.-3"},
        {"block": "7.3.1"},
        {"block": "٧.3"},
        {"block": f"7.{2**53}"},
        {"block": "7." + "1" * 5000},
        "7.3",
    ],
    ids=str,
)
def test_what_is_no_marker(embed: object):
    assert marker_name("block", embed) is None


def test_a_rope_knows_its_markers_from_updates_and_from_its_state():
    _, bob, _ = split_rope()

    copy = TextRope.from_state(bob.encode_state(), BOB, policy=ROPE_POLICY)

    assert list(bob.markers) == list(copy.markers) == [BLOCK]


@pytest.mark.parametrize(("index", "length"), [(2, 1), (0, 6), (1, 3)])
def test_nobody_deletes_a_marker(index: int, length: int):
    _, bob, _ = split_rope()
    hostile = TextRope.from_state(bob.encode_state(), BOB)
    update = hostile.delete(index, length)

    with pytest.raises(InvalidYjsUpdateError, match="marker"):
        bob.apply(update, BOB)
    with pytest.raises(InvalidValueError, match="marker"):
        bob.delete(index, length)
    assert len(bob) == 6


def test_a_marker_is_not_deleted_by_the_update_that_brings_it():
    typed = TextRope(ANN)
    updates = [typed.embed(0, marker("block", BLOCK)), typed.insert(1, "x"), typed.delete(0, 1)]
    alone = TextRope(BOB)
    for update in updates:
        alone.apply(update, ANN)
    state = YjsState(ROPE_POLICY)
    # Struct of the first update, delete set of the last.
    with pytest.raises(InvalidYjsUpdateError, match="marker"):
        state.check(updates[0][:-1] + updates[2][1:], ANN)


def test_what_stands_beside_a_marker_may_go():
    ann, bob, _ = split_rope()

    ann.apply(bob.delete(0, 2), BOB)
    ann.apply(bob.delete(1, 3), BOB)

    assert len(ann) == 1
    assert ann.delta() == bob.delta()


@pytest.mark.parametrize("value", [{"block": f"{BOB}.1"}, {"block": "x"}, {"mention": "ann"}])
def test_an_embed_that_is_no_marker_of_ones_own_is_refused(value: dict[str, str]):
    update = TextRope(ANN).embed(0, value)

    with pytest.raises(InvalidYjsUpdateError, match="marker"):
        rope(BOB).apply(update, ANN)
    with pytest.raises(InvalidValueError):
        rope(ANN).embed(0, value)


def test_a_marker_comes_once():
    hostile = TextRope(ANN)
    first, second = hostile.embed(0, marker("block", BLOCK)), hostile.embed(0, marker("block", BLOCK))
    bob = rope(BOB)
    bob.apply(first, ANN)

    with pytest.raises(InvalidYjsUpdateError, match="already"):
        bob.apply(second, ANN)


def test_what_was_staged_and_dropped_leaves_no_marker():
    ann, _, updates = split_rope()
    bob = rope(BOB)
    for update in updates:
        bob.stage(update, ANN)
    assert list(bob.markers) == [BLOCK]

    bob.drop_staged()

    assert len(bob.markers) == 0
    for update in updates:
        bob.stage(update, ANN)
    bob.apply_staged()
    assert bob.delta() == ann.delta()


def test_undo_of_typing_leaves_a_marker_that_came_into_it():
    ann, bob, _ = split_rope()
    ann.take_step()
    typed = ann.insert(4, "XY")
    step = ann.take_step()
    bob.apply(typed, ANN)
    ann.apply(bob.embed(5, marker("block", OpId(BOB, 1))), BOB)

    assert step is not None
    undone = ann.undo(step)
    bob.apply(undone.update, ANN)

    assert list(ann.markers) == [BLOCK, OpId(BOB, 1)]
    assert ann.text == bob.text == "he\ufffcl\ufffclo"


def test_an_embed_is_not_recorded_for_undo():
    ann = rope(ANN)
    ann.insert(0, "ab")
    ann.take_step()

    ann.embed(1, marker("block", BLOCK))

    assert ann.take_step() is None


def test_an_embed_changes_no_formatting():
    ann = rope(ANN)
    ann.insert(0, "abcd", {"bold": True})
    ann.embed(2, marker("block", BLOCK))
    ann.insert(3, "X")

    assert [(run["insert"], run.get("attributes")) for run in ann.delta() if isinstance(run["insert"], str)] == [
        ("ab", {"bold": True}),
        ("Xcd", {"bold": True}),
    ]


def test_markers_are_taken_back_in_order():
    markers = Markers()
    markers.add(BLOCK, 4)
    markers.add(OpId(ANN, 8), 9)

    markers.take_back(OpId(ANN, 8))

    markers.refuse_delete(ANN, 5, 20)
    markers.refuse_delete(BOB, 0, 20)
    with pytest.raises(InvalidYjsUpdateError):
        markers.refuse_delete(ANN, 4, 5)
    assert BLOCK in markers
