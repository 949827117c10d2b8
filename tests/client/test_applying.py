"""What comes onto what a replica shows."""

from __future__ import annotations

import pytest

from collabkernel.client.applying import apply_stored, is_needless, put_on
from collabkernel.client.own_blocks import OwnBlocks
from collabkernel.client.pending import PendingEnvelope
from collabkernel.crdt.ids import ROOT, OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.document.block_loading import load
from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import (
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

pytestmark = pytest.mark.core

BODY, THEIRS, OURS = document_id("body"), 7, 9
BLOCK = OpId(THEIRS, 2)


def log(*ops: Op, seq: int = 1, site: int = THEIRS) -> StoredEnvelope:
    return StoredEnvelope(seq, site, "ann", Envelope(seq, 0, seq, ops))


def partial_state() -> tuple[RoomState, OwnBlocks]:
    """A document with a block whose contents are not here."""
    state = RoomState(LiveTree(OURS))
    state.restrict(())
    own_blocks = OwnBlocks(state, OURS)
    insert = BlockInsert(BODY, Slot.CHILD, key_between(None, None, THEIRS), "paragraph")
    stored = log(NewDocument(ROOT, "body"), insert)
    assert apply_stored(state, stored, is_told=True) == ()
    own_blocks.log(stored, "ann")
    assert list(own_blocks.confirm(0, is_late=False))
    return state, own_blocks


def test_what_is_not_here_is_passed_over_and_the_rest_applied():
    state, _ = partial_state()
    edit = TextEdit(BLOCK, TextRope(THEIRS, policy=ROPE_POLICY).insert(0, "x"))

    changes = apply_stored(
        state,
        log(MapSet(BLOCK, "done", True), edit, MapSet(BLOCK, "type", "task"), MapSet(ROOT, "a", 1), seq=3),
        is_told=True,
    )

    assert [(change.target, change.key) for change in changes] == [(BLOCK, "type"), (ROOT, "a")]
    assert is_needless(state, edit, THEIRS)
    assert state.blocks is not None
    load(state.blocks, BLOCK, [], b"")
    assert not is_needless(state, edit, THEIRS)
    assert apply_stored(state, log(edit, seq=7), is_told=True)
    assert is_needless(state, edit, THEIRS), "it is in the text"


def test_what_nobody_asks_for_is_applied_and_not_told():
    state = RoomState(LiveTree(OURS))
    first = log(MapSet(ROOT, "a", 1), MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)))
    typed = log(TextEdit(OpId(THEIRS, 2), TextRope(THEIRS).insert(0, "x")), MapSet(ROOT, "a", 2), seq=3)

    assert apply_stored(state, first, is_told=False) == ()
    assert apply_stored(state, typed, is_told=False) == ()

    assert state.tree.to_json() == {"a": 2, "t": "x"}
    (change,) = apply_stored(state, log(MapSet(ROOT, "a", 3), seq=5), is_told=True)
    assert (change.old, change.new) == (2, 3)


def test_what_is_pending_is_put_on_contents_that_are_new_and_on_nothing_else():
    state, own_blocks = partial_state()
    ops = (MapSet(BLOCK, "done", True), MapSet(ROOT, "a", 1))
    entry = PendingEnvelope(Envelope(1, 2, 100, ops), b"")
    assert state.blocks is not None

    put_on(state, own_blocks, entry)
    assert state.tree.to_json() == {"a": 1}
    load(state.blocks, BLOCK, [], b"")
    put_on(state, own_blocks, entry, frozenset((BLOCK,)))

    assert state.blocks.block(BLOCK).properties.get("done") is True
    assert entry.is_applied


def test_what_does_not_fit_is_not_applied_and_not_put_on_again():
    state, own_blocks = partial_state()
    entry = PendingEnvelope(Envelope(1, 2, 100, (MapSet(OpId(3, 3), "a", 1), MapSet(ROOT, "b", 1))), b"")

    put_on(state, own_blocks, entry)
    put_on(state, own_blocks, entry, frozenset((ROOT,)))

    assert not entry.is_applied
    assert state.tree.to_json() == {"b": 1}
