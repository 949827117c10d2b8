"""Stretches of a rope: each block's text, edits inside of it, and what changed where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.text_delta import Delta
from collabkernel.document.block_text import BlockEdit, BlockRope, Stretch, deltas_by_block
from collabkernel.errors import InvalidValueError, InvalidYjsUpdateError
from tests.examples import examples

pytestmark = pytest.mark.core

ANN, BOB = 7, 9
A, B, C = OpId(ANN, 1), OpId(ANN, 2), OpId(BOB, 1)


def everything(_: OpId) -> bool:
    return True


def nothing(_: OpId) -> bool:
    return False


def but(block: OpId) -> Any:
    return lambda name: name != block


def apply_delta(text: str, delta: Delta) -> str:
    """What a text becomes; its formatting aside."""
    found, at = "", 0
    for part in delta:
        if "insert" in part:
            found += part["insert"]
        elif "retain" in part:
            found += text[at : at + part["retain"]]
            at += part["retain"]
        else:
            at += part["delete"]
    return found + text[at:]


def texts(rope: BlockRope, counts: Any = everything) -> dict[OpId, str]:
    return {stretch.block: rope.text(stretch) for stretch in rope.stretches(counts)}


def stretch(rope: BlockRope, block: OpId, counts: Any = everything) -> Stretch:
    found = rope.stretch(block, counts)
    assert found is not None
    return found


def make(text: str = "hello world") -> tuple[BlockRope, BlockRope]:
    """A text of Ann's and Bob's copy of it."""
    ann, bob = BlockRope(A, ANN), BlockRope(A, BOB)
    send(ann.splice(stretch(ann, A), 0, 0, text), bob)
    return ann, bob


def send(edits: list[BlockEdit], to: BlockRope, site: int = ANN, counts: Any = everything) -> dict[OpId, Delta]:
    changes: dict[OpId, Delta] = {}
    for edit in edits:
        changes |= to.apply(edit.update, site, counts)
    return changes


def split(from_: BlockRope, block: OpId, index: int, name: OpId, to: BlockRope) -> dict[OpId, Delta]:
    return to.apply(from_.mark(stretch(from_, block), index, name), from_.rope.client_id, nothing)


def test_a_text_is_split_by_its_markers():
    ann, bob = make()
    assert split(ann, A, 5, B, bob) == {}
    split(ann, B, 1, OpId(ANN, 3), bob)

    assert texts(ann) == texts(bob) == {A: "hello", B: " ", OpId(ANN, 3): "world"}
    assert [name for _, name in bob.marks()] == [B, OpId(ANN, 3)]


def test_a_marker_that_does_not_count_is_not_seen():
    ann, bob = make()
    split(ann, A, 5, B, bob)

    assert texts(bob, nothing) == {A: "hello world"}
    assert stretch(bob, A, nothing) == Stretch(A, 0, 12, (5,))
    assert bob.stretch(B, nothing) is None


def test_edits_go_around_holes():
    ann, bob = make()
    split(ann, A, 5, B, bob)
    split(bob, A, 2, C, ann)

    edits = bob.splice(stretch(bob, A, nothing), 1, 8, "XY")
    assert send(edits, ann, BOB, nothing).keys() == {A}

    assert texts(ann, nothing) == texts(bob, nothing) == {A: "hXYld"}
    assert texts(ann) == {A: "hXY", C: "", B: "ld"}


def test_typing_beside_a_marker_stays_on_its_side():
    ann, bob = make()
    split(ann, A, 5, B, bob)

    send(bob.splice(stretch(bob, A), 5, 0, "!"), ann, BOB)
    send(bob.splice(stretch(bob, B), 0, 0, "?"), ann, BOB)

    assert texts(ann) == texts(bob) == {A: "hello!", B: "? world"}


def test_a_block_is_edited_only_within():
    ann, _ = make("ab")
    ann.mark(stretch(ann, A), 1, B)

    for index, length in [(0, 2), (2, 0), (-1, 0), (1, -1)]:
        with pytest.raises(IndexError):
            ann.splice(stretch(ann, A), index, length, "x")
        with pytest.raises(IndexError):
            ann.format(stretch(ann, A), index, index + length, {"bold": True})
    with pytest.raises(IndexError):
        ann.mark(stretch(ann, A), 2, OpId(ANN, 3))


def test_a_site_marks_its_own_blocks_alone_and_once():
    ann, bob = make()
    split(ann, A, 5, B, bob)

    with pytest.raises(InvalidValueError):
        bob.mark(stretch(bob, A), 1, B)
    with pytest.raises(InvalidValueError):
        ann.mark(stretch(ann, A), 1, B)
    with pytest.raises(InvalidYjsUpdateError):
        bob.apply(BlockRope(A, ANN).mark(Stretch(A, 0, 0), 0, B), ANN, everything)


def test_formatting_goes_with_the_text():
    ann, bob = make("hello world")
    send(ann.format(stretch(ann, A), 3, 9, {"bold": True}), bob)
    split(ann, A, 5, B, bob)
    send(bob.format(stretch(bob, B), 0, 1, {"bold": None, "link": "https://example.org"}), ann, BOB)

    assert ann.delta(stretch(ann, A)) == [{"insert": "hel"}, {"insert": "lo", "attributes": {"bold": True}}]
    assert bob.delta(stretch(bob, B)) == [
        {"insert": " ", "attributes": {"link": "https://example.org"}},
        {"insert": "wor", "attributes": {"bold": True}},
        {"insert": "ld"},
    ]


def test_formatting_is_told_by_block():
    ann, bob = make("hello world")
    split(ann, A, 5, B, bob)

    changed = send(ann.format(stretch(ann, B), 1, 3, {"code": True}), bob)

    assert changed == {B: [{"retain": 1}, {"retain": 2, "attributes": {"code": True}}]}


def test_undo_leaves_markers_and_others_text():
    ann, bob = make("")
    ann.rope.take_step()
    send(ann.splice(stretch(ann, A), 0, 0, "hello"), bob)
    step = ann.rope.take_step()
    assert step is not None
    split(bob, A, 2, C, ann)
    send(bob.splice(stretch(bob, C), 1, 0, "BOB"), ann, BOB)

    edit, redo = ann.undo(step, everything)

    assert edit.delta_by_block == {A: [{"delete": 2}], C: [{"delete": 1}, {"retain": 3}, {"delete": 2}]}
    assert bob.apply(edit.update, ANN, everything) == edit.delta_by_block
    assert texts(ann) == texts(bob) == {A: "", C: "BOB"}
    assert redo is not None
    again, _ = ann.undo(redo, everything)
    bob.apply(again.update, ANN, everything)
    assert texts(ann) == texts(bob) == {A: "he", C: "lBOBlo"}


def test_undo_of_a_deletion_brings_text_back_on_its_side_of_a_marker():
    ann, bob = make("hello")
    ann.rope.take_step()
    send(ann.splice(stretch(ann, A), 1, 4, ""), bob)
    step = ann.rope.take_step()
    assert step is not None
    split(bob, A, 1, C, ann)

    edit, _ = ann.undo(step, everything)
    bob.apply(edit.update, ANN, everything)

    assert texts(ann) == texts(bob)
    assert "".join(texts(ann).values()) == "hello"


def test_a_marker_that_counts_when_it_comes_tells_both_blocks():
    ann, bob = make("hello")
    update = ann.mark(stretch(ann, A), 2, B)

    assert bob.apply(update, ANN, everything) == {
        A: [{"insert": "he"}, {"delete": 5}],
        B: [{"insert": "llo"}],
    }


def test_changes_are_told_in_code_points_of_each_block():
    parts: Delta = [{"retain": 1}, {"insert": "ä"}, {"delete": 2}, {"retain": 2}, {"delete": 1}, {"insert": "z"}]
    stretches = [Stretch(A, 0, 3), Stretch(B, 4, 6, (5,)), Stretch(C, 7, 7)]

    assert deltas_by_block(parts, stretches) == {
        A: [{"retain": 1}, {"insert": "ä"}, {"delete": 2}],
        B: [{"retain": 1}, {"insert": "z"}],
    }


edit_strategy = st.tuples(
    st.sampled_from(["type", "delete", "mark", "format"]),
    st.booleans(),
    st.integers(0, 40),
    st.integers(0, 12),
    st.text("ab😀ä", max_size=4),
)


@given(st.lists(edit_strategy, max_size=25), st.integers(0, 3))
@examples(60)
def test_what_is_told_is_what_changed(edits: list[tuple[str, bool, int, int, str]], hidden: int):
    """Two who type and split by turns, one of whose splits do not count: deltas make the new texts of the old ones."""
    ropes = BlockRope(A, ANN), BlockRope(A, BOB)
    markers = 0

    def counts(name: OpId) -> bool:
        return name.counter % 4 != hidden

    for kind, is_bob, at, length, text in edits:
        here, there = ropes[::-1] if is_bob else ropes
        before = texts(there, counts)
        where = here.stretches(counts)[at % len(here.stretches(counts))]
        index = at % (where.length + 1)
        length = min(length, where.length - index)
        if kind == "mark":
            markers += 1
            update = here.mark(where, index, OpId(here.rope.client_id, 10 + markers))
            there.apply(update, here.rope.client_id, counts)
            continue
        if kind == "format":
            made = here.format(where, index, index + length, {"bold": True})
        else:
            made = here.splice(where, index, length if kind == "delete" else 0, text if kind == "type" else "")
        for edit in made:
            told = there.apply(edit.update, here.rope.client_id, counts)
            assert kind == "format" or _unformatted(told) == edit.delta_by_block
            after = texts(there, counts)
            assert after == {block: apply_delta(old, told.get(block, [])) for block, old in before.items()}
            before = after
    assert texts(ropes[0], counts) == texts(ropes[1], counts)


def _unformatted(changes: dict[OpId, Delta]) -> dict[OpId, Delta]:
    """What is typed takes the formatting to its left, which the author's own delta does not say."""
    return {
        block: [{key: value for key, value in part.items() if key != "attributes"} for part in delta]
        for block, delta in changes.items()
    }
