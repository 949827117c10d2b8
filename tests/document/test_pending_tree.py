"""A client's tree: own operations on top of what is confirmed."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.move_tree import MoveTree, Verdict
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    BlockRekey,
    NewDocument,
    TreeOp,
    document_id,
)
from collabkernel.document.pending_tree import LoggedOp, PendingTree, judge

pytestmark = pytest.mark.core

DOC = document_id("body")
A, B, C = OpId(1, 2), OpId(1, 3), OpId(1, 4)


def key(site: int, number: int) -> str:
    return f"y{site:06d}a{number}V"


def start() -> list[LoggedOp]:
    ops: list[TreeOp] = [
        NewDocument(OpId(0, 0), "body"),
        *(BlockInsert(DOC, Slot.CHILD, key(1, i), "paragraph") for i in range(3)),
    ]
    return [LoggedOp(seq, OpId(1, seq), op, seq - 1) for seq, op in enumerate(ops, 1)]


def fold(ops: list[LoggedOp]) -> MoveTree:
    tree = MoveTree()
    for seq, op_id, op, base in ops:
        judge(tree, op_id, op, seq, base)
    return tree


@pytest.fixture
def mine() -> PendingTree:
    return PendingTree(fold(start()), site=2)


def test_own_operations_show_at_once_and_confirmation_changes_nothing(mine: PendingTree):
    move = BlockMove(C, A, Slot.CHILD, key(2, 0))
    assert mine.add(OpId(2, 1), move, base=4) is Verdict.APPLIED
    assert mine.tree.children(A) == [C]

    confirmed = mine.confirm([LoggedOp(5, OpId(2, 1), move, 4)])
    assert confirmed.verdicts == {OpId(2, 1): Verdict.APPLIED}
    assert confirmed.changes == {}
    assert mine.verdicts == {}
    assert mine.tree.position_op_of(C) == (5, 2)


def test_what_others_did_first_wins_and_is_told(mine: PendingTree):
    mine.add(OpId(2, 1), BlockMove(C, A, Slot.CHILD, key(2, 0)), base=4)
    mine.add(OpId(2, 2), BlockMove(B, C, Slot.CHILD, key(2, 0)), base=4)
    theirs = LoggedOp(5, OpId(3, 1), BlockMove(C, B, Slot.CHILD, key(3, 0)), 4)

    confirmed = mine.confirm([theirs])
    assert confirmed.verdicts == {}
    assert mine.verdicts == {OpId(2, 1): Verdict.CONCURRENT, OpId(2, 2): Verdict.CYCLE}
    assert sorted(confirmed.changes) == [B, C]
    assert list(mine.tree.walk(DOC)) == [(A, 0), (B, 0), (C, 1)]


def test_own_operations_know_each_other(mine: PendingTree):
    new = OpId(2, 1)
    mine.add(new, BlockInsert(DOC, Slot.CHILD, key(2, 0), "paragraph"), base=4)
    mine.add(OpId(2, 2), BlockMove(B, new, Slot.CHILD, key(2, 0)), base=4)
    mine.add(OpId(2, 3), BlockDelete(new), base=4)
    mine.add(OpId(2, 4), BlockMove(new, DOC, Slot.CHILD, key(2, 1)), base=4)
    mine.confirm([LoggedOp(5, OpId(3, 1), BlockDelete(A), 4)])

    assert set(mine.verdicts.values()) == {Verdict.APPLIED}
    assert list(mine.tree.walk(DOC)) == [(C, 0), (new, 0), (B, 1)]


def test_a_pending_key_is_translated_when_a_rekey_arrives(mine: PendingTree):
    mine.add(OpId(2, 1), BlockMove(A, DOC, Slot.CHILD, "y000001a1x" + "a0V"), base=4)
    assert mine.tree.children(DOC) == [B, A, C]
    rekey = BlockRekey(DOC, Slot.CHILD, ((A, key(9, 0)), (B, key(9, 1)), (C, key(9, 2))))
    mine.confirm([LoggedOp(5, OpId(9, 1), rekey, 4)])

    assert mine.tree.children(DOC) == [B, A, C]


def test_what_was_refused_is_taken_away(mine: PendingTree):
    before = list(mine.tree.rows())
    mine.add(OpId(2, 1), BlockMove(C, A, Slot.CHILD, key(2, 0)), base=4)
    mine.add(OpId(2, 2), BlockDelete(B), base=4)

    assert sorted(mine.drop({OpId(2, 1)})) == [C]
    assert mine.tree.children(DOC) == [A, C]
    assert sorted(mine.drop({OpId(2, 2)})) == [B]
    assert list(mine.tree.rows()) == before


def test_without_own_operations_the_tree_is_what_the_log_says(mine: PendingTree):
    mine.add(OpId(2, 1), BlockDelete(A), base=4)
    mine.add(OpId(2, 2), BlockMove(B, DOC, Slot.CHILD, key(2, 9)), base=4)
    shown = list(mine.tree.rows())

    with mine.without_own() as tree:
        assert list(tree.rows()) == list(fold(start()).rows())
        tree.delete(C, seq=5, site=1, base=4)
        tree.forget([C])

    assert list(mine.tree.rows()) == [row for row in shown if row.id != C]
