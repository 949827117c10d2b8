"""From the log to the state, and back from snapshots."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import ROOT, OpId, Slot, Stamp
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.document.live_tree import LiveTree, TextNode
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    ContainerKind,
    Envelope,
    MapDelete,
    MapSet,
    NewContainer,
    NewDocument,
    Op,
    Purge,
    StoredEnvelope,
    TextEdit,
    document_id,
)
from collabkernel.room.fold import LIVE, Fold, envelopes_of_rows
from collabkernel.storage.base import OpRow
from collabkernel.wire.ops import encode_op, op_kind
from collabkernel.wire.state import encode_state
from tests.document.test_live_tree import history

pytestmark = pytest.mark.core

HLC = 1 << 40


def rows(seed: int) -> list[OpRow]:
    return [
        OpRow(seq, op_id.site, op_id.counter, op_id.counter, 0, stamp.hlc, "ann", op_kind(op), encode_op(op))
        for seq, (op_id, stamp, op) in enumerate(history(seed), 1)
    ]


@given(st.integers(0, 1000), st.integers(0, 40))
def test_a_snapshot_and_what_follows_it_are_the_whole_log(seed: int, cut: int) -> None:
    log = rows(seed)
    whole = Fold()
    whole.apply_rows(log)
    whole.settle()
    first = Fold()
    first.apply_rows(log[:cut])
    first.settle()

    second = Fold.from_parts(first.to_parts())
    second.apply_rows(log[cut:])
    second.settle()

    assert second.state.tree.to_json() == whole.state.tree.to_json()
    assert (second.seq, second.hlc) == (whole.seq, whole.hlc)
    assert second.to_parts() == whole.to_parts()


@given(st.integers(0, 1000), st.lists(st.integers(0, 40), max_size=4))
def test_a_fold_in_chunks_is_what_one_operation_after_the_other_makes(seed: int, cuts: list[int]) -> None:
    log = history(seed)
    one_by_one = LiveTree()
    for op_id, stamp, op in log:
        one_by_one.apply(op_id, stamp, op)
    stored = rows(seed)
    bounds = [0, *sorted(min(cut, len(stored)) for cut in cuts), len(stored)]
    fold = Fold()

    for start, end in pairwise(bounds):
        fold.apply_rows(stored[start:end])
    fold.settle()

    assert not fold.skipped
    assert fold.to_parts()[LIVE] == encode_state(one_by_one, fold.seq, fold.hlc)
    texts = [node.rope for node in one_by_one.in_order() if isinstance(node, TextNode)]
    encoded = sum([rope.size_bytes if rope.is_empty else len(rope.encode_state()) for rope in texts])
    typed = sum([len(op.update) for _, _, op in log if isinstance(op, TextEdit)])
    assert fold.state.tree.size_bytes == one_by_one.size_bytes + encoded - typed
    assert list(fold.state.tree.nodes) == list(one_by_one.nodes)


def test_what_is_typed_before_and_behind_a_purge_in_one_chunk_is_there() -> None:
    ops: list[Op] = [
        MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)),
        MapSet(ROOT, "u", NewContainer(ContainerKind.TEXT)),
        MapSet(ROOT, "x", NewContainer(ContainerKind.TEXT)),
        TextEdit(OpId(1, 1), TextRope(1).insert(0, "one")),
        TextEdit(OpId(1, 3), TextRope(1).insert(0, "gone")),
        MapDelete(ROOT, "x"),
        Purge(ROOT, (), Stamp(HLC + 6, 1)),
        TextEdit(OpId(1, 2), TextRope(1).insert(0, "two")),
    ]
    log = [OpRow(seq, 1, seq, seq, 0, HLC + seq, "ann", op_kind(op), encode_op(op)) for seq, op in enumerate(ops, 1)]
    fold = Fold()

    fold.apply_rows(log)
    fold.settle()

    assert not fold.skipped
    assert fold.state.tree.to_json() == {"t": "one", "u": "two"}


def test_text_of_blocks_that_are_purged_in_the_same_chunk_is_passed_over() -> None:
    body = document_id("body")
    first, gone = OpId(3, 2), OpId(3, 3)
    ops: list[Op] = [
        NewDocument(ROOT, "body"),
        BlockInsert(body, Slot.CHILD, key_between(None, None, 3), "paragraph"),
        BlockInsert(body, Slot.CHILD, key_between(None, None, 3), "paragraph"),
        TextEdit(first, TextRope(3).insert(0, "one")),
        TextEdit(gone, TextRope(3).insert(0, "gone")),
        BlockDelete(gone),
        Purge(ROOT, (gone,)),
        TextEdit(first, TextRope(2).insert(0, "two")),
    ]
    encoded = [(op_kind(op), encode_op(op)) for op in ops]
    log = [OpRow(seq, 3, seq, seq, seq - 1, HLC + seq, "ann", *each) for seq, each in enumerate(encoded, 1)]
    log[-1] = log[-1]._replace(site=2, counter=1, first_counter=1)
    fold, part = Fold(), Fold()

    fold.apply_rows(log)
    fold.settle()
    part.apply_rows(log[:5])
    part.settle()
    part = Fold.from_parts(part.to_parts())
    part.apply_rows(log[5:])
    part.settle()

    for each in (fold, part):
        assert not each.skipped
        blocks = each.state.blocks
        assert blocks is not None
        assert set(blocks.ropes) == {first}
        assert sorted(blocks.text(first)) == sorted("onetwo")
        assert set(blocks.blocks) == {body, first}
    assert fold.to_parts() == part.to_parts()


def test_rows_of_one_envelope_come_back_together() -> None:
    op_rows = rows(3)[:4]
    first, second, third, fourth = op_rows
    second = second._replace(site=first.site, counter=first.counter + 1, first_counter=first.counter)

    envelopes, payloads = envelopes_of_rows([first, second, third])

    assert [(e.seq, e.site, e.envelope.counter, len(e.envelope.ops)) for e in envelopes] == [
        (1, first.site, first.counter, 2),
        (3, third.site, third.counter, 1),
    ]
    assert isinstance(envelopes[0], StoredEnvelope)
    assert envelopes[0].op_id(1) == OpId(first.site, first.counter + 1)
    assert isinstance(envelopes[0].envelope, Envelope)
    assert payloads == [[first.payload, second.payload], [third.payload]]
    assert envelopes_of_rows([fourth])[0][0].seq == 4
    assert envelopes_of_rows([]) == ([], [])


def test_what_does_not_apply_is_skipped_and_told_and_the_rest_is_there() -> None:
    """The room could not be opened ever again."""
    text = OpId(7, 1)
    rope = TextRope(7)
    typed = [rope.insert(len(rope), "ab"), b"\x01\x01", rope.insert(len(rope), "cd")]
    ops: list[Op] = [
        MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)),
        MapSet(OpId(9, 9), "k", 1),
        *[TextEdit(text, update) for update in typed],
        TextEdit(OpId(9, 9), typed[0]),
        MapSet(ROOT, "k", 2),
    ]
    log = [OpRow(n, 7, n, n, 0, HLC + n, "ann", op_kind(op), encode_op(op)) for n, op in enumerate(ops, start=1)]
    fold = Fold()

    fold.apply_rows(log)
    fold.settle()

    assert fold.state.tree.to_json() == {"t": "abcd", "k": 2}
    assert [told.split()[0] for told in fold.skipped] == ["2", "4", "6"]
    assert (fold.seq, fold.hlc) == (7, HLC + 7)


def test_a_long_text_is_there_but_for_the_update_that_does_not_apply() -> None:
    """yrs takes them some at a time; what came before the bad one must not be there twice."""
    text, rope = OpId(7, 1), TextRope(7)
    updates = [rope.insert(len(rope), "ab"[n % 2]) for n in range(300)]
    updates.insert(200, b"\x01\x01")
    ops: list[Op] = [
        MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)),
        *[TextEdit(text, bytes_) for bytes_ in updates],
    ]
    fold = Fold()

    fold.apply_rows(
        [OpRow(n, 7, n, n, 0, HLC + n, "ann", op_kind(op), encode_op(op)) for n, op in enumerate(ops, start=1)]
    )
    fold.settle()

    assert fold.state.tree.to_json() == {"t": "ab" * 150}
    assert [told.split()[0] for told in fold.skipped] == ["202"]


def test_a_text_of_a_block_is_there_but_for_the_update_that_does_not_apply() -> None:
    block, rope = OpId(7, 2), TextRope(7)
    updates = [rope.insert(len(rope), letter) for letter in "hello"]
    updates.insert(2, b"\x01\x01")
    ops: list[Op] = [
        NewDocument(ROOT, "body"),
        BlockInsert(document_id("body"), Slot.CHILD, key_between(None, None, 7), "paragraph"),
        *[TextEdit(block, bytes_) for bytes_ in updates],
    ]
    fold = Fold()

    fold.apply_rows(
        [OpRow(n, 7, n, n, 0, HLC + n, "ann", op_kind(op), encode_op(op)) for n, op in enumerate(ops, start=1)]
    )
    fold.settle()

    assert fold.state.blocks is not None
    assert fold.state.blocks.text(block) == "hello"
    assert [told.split()[0] for told in fold.skipped] == ["5"]
    again = Fold.from_parts(fold.to_parts()).state.blocks
    assert again is not None
    assert fold.state.blocks.size_bytes == again.size_bytes
