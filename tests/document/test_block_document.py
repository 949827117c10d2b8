"""Block documents: what is admitted, what is refused, what is told, and that it can be taken back."""

from __future__ import annotations

from typing import Any

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Slot, Stamp
from collabkernel.crdt.move_tree import MoveTree, Verdict
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.markers import marker
from collabkernel.document.block import Block
from collabkernel.document.block_document import BlockDocument, Line
from collabkernel.document.block_edits import insert_block
from collabkernel.document.live_tree import ABSENT, Change
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    BlockRekey,
    ContainerKind,
    ListDelete,
    MapDelete,
    MapSet,
    NewContainer,
    NewDocument,
    Op,
    TextEdit,
    TreeOp,
    document_id,
)
from collabkernel.errors import (
    DetachedError,
    InvalidOperationError,
    InvalidYjsUpdateError,
    UnknownReferenceError,
    UnknownTargetError,
    WrongTargetKindError,
)
from tests.document.block_world import BODY, World, state

pytestmark = pytest.mark.core

ANN, BOB = 7, 9
A, B = OpId(ANN, 1), OpId(ANN, 3)
KEY = key_between(None, None, ANN)


class Log:
    """A document that operations come to one by one."""

    def __init__(self) -> None:
        self.document = BlockDocument()
        self.seq = 0
        self.take(OpId(ANN, 99), NewDocument(ROOT, "body"))

    def take(self, op_id: OpId, op: Op) -> list[Change]:
        self.seq += 1
        changes = self.document.admit(op_id, Stamp(self.seq, op_id.site), op)
        if isinstance(op, TreeOp):
            assert self.document.judge(op_id, op, self.seq, self.seq - 1) is Verdict.APPLIED
        return changes


def with_block(text: str = "") -> tuple[Log, TextRope]:
    """A log with block A, and its author's rope."""
    log, rope = Log(), TextRope(ANN)
    log.take(A, BlockInsert(BODY, Slot.CHILD, KEY, "paragraph"))
    if text:
        log.take(OpId(ANN, 2), TextEdit(A, rope.insert(0, text)))
    return log, rope


def test_a_document_is_made_once():
    log = Log()
    before = state(log.document)

    log.document.admit(OpId(BOB, 1), Stamp(5, BOB), NewDocument(ROOT, "body"))
    assert log.document.judge(OpId(BOB, 1), NewDocument(ROOT, "body"), 2, 0) is Verdict.NOOP

    assert state(log.document) == before
    assert log.document.documents() == {"body": document_id("body")}


def test_a_block_has_type_place_and_text():
    log, _ = with_block("hello")

    assert list(log.document.outline(BODY)) == [Line(A, 0, "paragraph", "hello")]
    assert log.document.length(A) == 5
    assert log.document.delta(A) == [{"insert": "hello"}]


def test_a_block_that_nobody_typed_in_has_no_rope():
    log, _ = with_block()

    assert log.document.text(A) == ""
    assert log.document.delta(A) == []
    assert log.document.ropes == {}


def test_what_is_typed_is_told():
    log, rope = with_block("hello")

    assert log.take(OpId(ANN, 3), TextEdit(A, rope.insert(2, "X"))) == [
        Change(A, "text", delta=({"retain": 2}, {"insert": "X"}))
    ]


def test_an_operation_that_comes_twice_changes_nothing():
    log, rope = with_block("hello")
    ops: list[Op] = [TextEdit(A, rope.insert(5, "!")), MapSet(A, "level", 1), MapDelete(A, "level")]
    for i, op in enumerate(ops):
        log.take(OpId(ANN, 3 + i), op)
    before, size_bytes = state(log.document), log.document.size_bytes

    for i, op in enumerate([*ops, BlockInsert(BODY, Slot.CHILD, KEY, "paragraph")]):
        op_id = A if isinstance(op, BlockInsert) else OpId(ANN, 3 + i)
        assert log.document.admit(op_id, Stamp(1, ANN), op) == []

    assert (state(log.document), log.document.size_bytes) == (before, size_bytes)


def test_properties_are_registers():
    log, _ = with_block()
    document = log.document

    assert log.take(OpId(ANN, 2), MapSet(A, "level", 2)) == [Change(A, "set", "level", ABSENT, 2)]
    assert log.take(OpId(ANN, 3), MapSet(A, "type", "heading")) == [Change(A, "set", "type", "paragraph", "heading")]
    assert document.admit(OpId(BOB, 1), Stamp(1, BOB), MapSet(A, "type", "quote")) == []
    assert log.take(OpId(ANN, 4), MapDelete(A, "level")) == [Change(A, "delete", "level", 2)]

    assert (document.block(A).type, document.block(A).properties.get("level")) == ("heading", None)


@pytest.mark.parametrize(
    ("op", "error"),
    [
        (NewDocument(A, "other"), UnknownTargetError),
        (BlockInsert(OpId(1, 1), Slot.CHILD, KEY, "paragraph"), UnknownReferenceError),
        (BlockInsert(BODY, Slot.CHILD, key_between(None, None, BOB), "paragraph"), InvalidOperationError),
        (BlockInsert(BODY, Slot.CHILD, KEY, ""), InvalidOperationError),
        (BlockInsert(BODY, Slot.CHILD, KEY, "x" * 65), InvalidOperationError),
        (BlockInsert(BODY, Slot.CHILD, KEY, "paragraph", OpId(1, 1)), UnknownReferenceError),
        (BlockInsert(BODY, Slot.CHILD, KEY, "paragraph", A), UnknownReferenceError),
        (BlockMove(OpId(1, 1), BODY, Slot.CHILD, KEY), UnknownTargetError),
        (BlockMove(A, OpId(1, 1), Slot.CHILD, KEY), UnknownReferenceError),
        (BlockMove(BODY, A, Slot.CHILD, KEY), InvalidOperationError),
        (BlockDelete(BODY), InvalidOperationError),
        (BlockDelete(OpId(1, 1)), UnknownTargetError),
        (BlockRekey(BODY, Slot.CHILD, ((A, "no key"),)), InvalidOperationError),
        (BlockRekey(OpId(1, 1), Slot.CHILD, ((A, KEY),)), UnknownTargetError),
        (MapSet(A, "type", 5), InvalidOperationError),
        (MapDelete(A, "type"), InvalidOperationError),
        (MapSet(A, "x", NewContainer(ContainerKind.LIST)), WrongTargetKindError),
        (MapSet(BODY, "type", "paragraph"), InvalidOperationError),
        (MapSet(BODY, "name", "other"), InvalidOperationError),
        (MapSet(OpId(1, 1), "x", 1), UnknownTargetError),
        (TextEdit(OpId(1, 1), b""), UnknownTargetError),
        (TextEdit(A, b"\x00"), InvalidYjsUpdateError),
        (ListDelete(A, A), WrongTargetKindError),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_and_changes_nothing(op: Op, error: type[Exception]):
    log, _ = with_block("hello")
    before, size_bytes = state(log.document), log.document.size_bytes

    with pytest.raises(error):
        log.document.admit(OpId(ANN, 3), Stamp(9, ANN), op)

    assert (state(log.document), log.document.size_bytes) == (before, size_bytes)


def split_ops(rope: TextRope) -> list[tuple[OpId, Op]]:
    """Block B begins behind the second letter of A."""
    mark = TextEdit(A, rope.embed(2, marker("block", OpId(ANN, 4))))
    key = key_between(KEY, None, ANN)
    return [(B, mark), (OpId(ANN, 4), BlockInsert(BODY, Slot.CHILD, key, "paragraph", A))]


def test_a_split_begins_at_its_marker():
    log, rope = with_block("hello")
    (mark_id, mark), (made, insert) = split_ops(rope)

    log.take(mark_id, mark)
    assert log.document.text(A) == "hello"
    log.take(made, insert)

    assert [line.text for line in log.document.outline(BODY)] == ["he", "llo"]
    with pytest.raises(WrongTargetKindError):
        log.document.rope(made)
    with pytest.raises(UnknownReferenceError):
        log.document.admit(OpId(ANN, 5), Stamp(9, ANN), BlockInsert(BODY, Slot.CHILD, KEY, "paragraph", made))


def test_a_marker_that_is_only_staged_is_there_for_its_insert():
    log, rope = with_block("hello")
    (_, mark), (made, insert) = split_ops(rope)
    assert isinstance(mark, TextEdit)
    staged = log.document.rope(A)
    staged.stage(mark.update, ANN)

    log.take(made, insert)
    staged.apply_staged()

    assert log.document.text(made) == "llo"


def test_a_client_may_know_of_a_split_before_it_has_the_text():
    log, rope = with_block("hello")
    client = BlockDocument(BOB, has_all_texts=False)
    split = split_ops(rope)
    for op_id, op in split:
        log.take(op_id, op)
    client.admit(OpId(ANN, 99), Stamp(1, ANN), NewDocument(ROOT, "body"))
    for op_id, op in [(A, BlockInsert(BODY, Slot.CHILD, KEY, "paragraph")), split[1]]:
        client.admit(op_id, Stamp(1, ANN), op)
    client.tree = log.document.tree
    assert client.text(OpId(ANN, 4)) == ""
    with pytest.raises(DetachedError):
        client.splice(OpId(ANN, 4), 0, 0, "x")

    client.enter_rope(A, log.document.rope(A).encode_state())

    assert client.text(OpId(ANN, 4)) == "llo"


def test_what_was_admitted_is_taken_back():
    log, rope = with_block("hello")
    document = log.document
    (mark_id, mark), (made, insert) = split_ops(rope)
    ops: list[tuple[OpId, Op]] = [
        (mark_id, mark),
        (made, insert),
        (OpId(ANN, 5), MapSet(A, "level", 1)),
        (OpId(ANN, 6), MapSet(made, "level", 2)),
        (OpId(ANN, 7), MapDelete(A, "level")),
        (OpId(ANN, 8), NewDocument(ROOT, "other")),
        (OpId(ANN, 9), BlockDelete(A)),
        (OpId(ANN, 10), MapSet(A, "type", "quote")),
    ]
    states: list[Any] = []
    undos = []
    for op_id, op in ops:
        states.append((state(document), document.size_bytes))
        undos.append(document.admit_undoable(op_id, Stamp(20 + op_id.counter, ANN), op)[1])

    for before, undo in zip(reversed(states), reversed(undos), strict=True):
        undo()
        assert (state(document), document.size_bytes) == before


def test_text_of_a_merged_block_is_told_where_it_is_shown():
    world = World(2)
    ann = world.replicas[0]
    first, second = [ann.do(insert_block, BODY, i, "paragraph", text) for i, text in enumerate(["ab", "cd"])]
    place = BlockMove(second, first, Slot.INLINE, key_between(None, None, ann.site))
    world.settle()
    ann.document.admit(ann.next_id, Stamp(9, ann.site), place)
    ann.pending.add(ann.next_id, place, ann.through)

    (made,) = ann.document.splice(second, 1, 0, "X")

    assert ann.document.text(first) == "abcXd"
    assert made.changes == [Change(first, "text", delta=({"retain": 3}, {"insert": "X"}))]


def test_a_snapshot_gives_the_same_document():
    log, rope = with_block("hello")
    for op_id, op in split_ops(rope):
        log.take(op_id, op)
    document = log.document

    copy = BlockDocument(tree=MoveTree.restore(document.tree.rows(), document.tree.rekeys()))
    for block in document.blocks.values():
        copy.enter(Block(block.id, block.rope_id, block.properties.registers()))
    for id, block_rope in document.ropes.items():
        copy.enter_rope(id, block_rope.rope.encode_state())

    assert state(copy) == state(document)
    assert copy.documents() == document.documents()


def test_texts_that_nobody_edits_are_bytes_until_somebody_does():
    log, rope = with_block("hello")
    document = log.document
    other = OpId(ANN, 50)
    log.take(other, BlockInsert(BODY, Slot.CHILD, key_between(KEY, None, ANN), "paragraph"))
    log.take(OpId(ANN, 51), TextEdit(other, TextRope(ANN).insert(0, "there")))
    before, size_bytes = state(document), document.size_bytes
    stored = {id: each.encode_state() for id, each in document.ropes.items()}

    document.cool(0)

    assert {id: each.encode_state() for id, each in document.ropes.items()} == stored
    assert (state(document), document.size_bytes) == (before, size_bytes)
    document.cool(1)
    log.take(OpId(ANN, 52), TextEdit(A, rope.insert(5, "!")))
    assert list(document.ropes) == [other, A]
    assert document.text(A) == "hello!"


def test_our_own_bytes_are_checked_when_somebody_asks_for_the_text():
    log, _ = with_block()
    log.document.enter_rope(A, b"\x01\x01\x07\x00", is_trusted=True)

    with pytest.raises(InvalidYjsUpdateError):
        log.document.text(A)


def test_a_stored_text_is_checked_when_it_comes():
    log, _ = with_block()

    for state_bytes in (b"", b"\x00", b"\x01\x01\x07\x00"):
        with pytest.raises(InvalidYjsUpdateError):
            log.document.enter_rope(A, state_bytes)
