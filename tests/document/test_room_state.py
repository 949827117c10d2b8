"""What a room holds: each operation finds its part, and is taken back from there."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Slot, Stamp
from collabkernel.crdt.move_tree import Verdict
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    ContainerKind,
    Envelope,
    MapSet,
    NewContainer,
    NewDocument,
    Op,
    StoredEnvelope,
    TextEdit,
    document_id,
)
from collabkernel.document.room_state import RoomState
from collabkernel.errors import UnknownTargetError
from collabkernel.limits import COLD_TEXT_BYTES, READY_TEXT_BYTES

pytestmark = pytest.mark.core

BODY, SITE = document_id("body"), 7
BLOCK = OpId(SITE, 2)
KEY = key_between(None, None, SITE)
INSERT: tuple[Op, ...] = (NewDocument(ROOT, "body"), BlockInsert(BODY, Slot.CHILD, KEY, "paragraph"))


def taken(state: RoomState, counter: int, *ops: Op, seq: int | None = None) -> None:
    """Apply and judge an envelope of one site."""
    stored = StoredEnvelope(seq or counter, SITE, "ann", Envelope(counter, 0, counter, ops))
    for i, op in enumerate(ops):
        state.apply(stored.op_id(i), stored.stamp(i), op)
    state.judge_all(stored)


def test_a_room_without_documents_has_none():
    state = RoomState()
    taken(state, 1, MapSet(ROOT, "k", 1))

    assert state.blocks is None
    assert state.size_bytes == state.tree.size_bytes
    with pytest.raises(UnknownTargetError):
        state.apply(OpId(SITE, 2), Stamp(2, SITE), MapSet(BLOCK, "k", 1))
    assert state.blocks is None


def test_operations_find_their_part():
    state = RoomState()
    typed = TextEdit(BLOCK, TextRope(SITE, policy=ROPE_POLICY).insert(0, "hello"))
    taken(state, 1, *INSERT, MapSet(BLOCK, "done", True), MapSet(ROOT, "k", 1), typed)

    assert state.blocks is not None
    assert state.tree.to_json() == {"k": 1}
    assert state.blocks.text(BLOCK) == "hello"
    assert state.blocks.block(BLOCK).properties.get("done") is True
    assert state.find_rope(typed) is state.rope(typed)
    assert state.size_bytes > state.tree.size_bytes


def test_texts_are_counted_as_they_are_kept():
    state, live = RoomState(), OpId(SITE, 8)
    typed = TextEdit(BLOCK, TextRope(SITE, policy=ROPE_POLICY).insert(0, "hello"))
    live_typed = TextEdit(live, TextRope(SITE).insert(0, "hello"))
    taken(state, 1, *INSERT)
    assert (state.text_bytes(typed), state.text_bytes(live_typed)) == (0, 0)

    taken(state, live.counter, MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)), live_typed)
    before = state.size_bytes
    taken(state, live.counter + 2, typed)

    assert state.size_bytes == before + state.typed_bytes(typed) + len(typed.update)
    assert state.text_bytes(typed) == len(typed.update)
    assert state.text_bytes(live_typed) == len(live_typed.update)
    assert state.typed_bytes(typed) < state.typed_bytes(live_typed), "a block's is bytes unless somebody edits it"


def test_a_text_is_cold_until_somebody_asks():
    state = RoomState()
    typed = TextEdit(BLOCK, TextRope(SITE, policy=ROPE_POLICY).insert(0, "hello"))
    taken(state, 1, *INSERT, typed)
    assert not state.waking(typed)

    state.cool(typed)
    state.make_ready()
    assert state.waking(typed)
    assert state.text_bytes(typed) == len(typed.update), "which makes nothing ready"
    assert state.waking(typed)
    assert state.rope(typed).text == "hello"
    assert not state.waking(typed)


def test_a_long_text_costs_more_to_wake_and_one_that_is_longer_still_is_ready_with_its_room():
    for length, waking in ((10, 1), (COLD_TEXT_BYTES * 5 // 2, 3), (READY_TEXT_BYTES + 1, 0)):
        state = RoomState()
        typed = TextEdit(BLOCK, TextRope(SITE, policy=ROPE_POLICY).insert(0, "x" * length))
        taken(state, 1, *INSERT, typed)
        assert state.blocks is not None
        rope = state.blocks.ropes[BLOCK]
        rope.restore(rope.encode_state(), is_trusted=True)

        state.make_ready()

        assert state.waking(typed) == waking


def test_a_long_text_stays_ready():
    state = RoomState()
    typed = TextEdit(BLOCK, TextRope(SITE, policy=ROPE_POLICY).insert(0, "x" * (COLD_TEXT_BYTES + 1)))
    taken(state, 1, *INSERT, typed)

    state.cool(typed)
    assert not state.waking(typed)


def test_a_block_has_its_place_when_it_is_judged():
    state = RoomState()
    for i, op in enumerate(INSERT):
        state.apply(OpId(SITE, 1 + i), Stamp(1 + i, SITE), op)
    assert state.blocks is not None
    assert BLOCK in state.blocks
    assert BLOCK not in state.blocks.tree

    state.judge_all(StoredEnvelope(1, SITE, "ann", Envelope(1, 0, 1, INSERT)))
    assert list(state.blocks.tree.in_order(BODY)) == [BLOCK]
    assert state.judge(3, 2, OpId(SITE, 3), BlockDelete(BLOCK)) is Verdict.APPLIED


def test_operations_are_taken_back_the_last_first():
    state = RoomState()
    taken(state, 1, *INSERT)
    assert state.blocks is not None
    before = state.size_bytes
    undos = []
    ops = (MapSet(ROOT, "k", 1), MapSet(BLOCK, "done", True), BlockInsert(BODY, Slot.CHILD, KEY, "code"))
    for i, op in enumerate(ops):
        undos.append(state.apply_undoable(OpId(SITE, 3 + i), Stamp(3 + i, SITE), op)[1])
    for undo in reversed(undos):
        undo()

    assert state.size_bytes == before
    assert state.tree.to_json() == {}
    assert OpId(SITE, 5) not in state.blocks
    assert dict(state.blocks.block(BLOCK).properties.items()) == {"type": "paragraph"}
