"""A client's move tree: what the log says, and the site's own operations that are not yet in it on top.

Verdicts depend on the order of the log, so an own operation that is still on its way cannot be judged for good. When a
message brings others' operations, the own ones are taken off, the message's are judged, and what is still pending is
put on again, judged as if it came next. Own operations know each other, so they never stand in each other's way.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.move_tree import MoveTree, Place, Verdict
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    NewDocument,
    TreeOp,
    document_id,
)
from collabkernel.limits import COUNTER_MAX


def judge(tree: MoveTree, op_id: OpId, op: TreeOp, seq: int, base: int) -> Verdict:
    """Judge one operation on a tree that has all before it."""
    site = op_id.site
    if isinstance(op, BlockMove):
        return tree.move(op.target, op.parent, op.slot, op.key, seq=seq, site=site, base=base)
    if isinstance(op, BlockInsert):
        return tree.insert(op_id, op.target, op.slot, op.key, seq=seq, site=site, base=base)
    if isinstance(op, BlockDelete):
        return tree.delete(op.target, seq=seq, site=site, base=base)
    if isinstance(op, NewDocument):
        return tree.add_root(document_id(op.name))
    return tree.rekey(op.target, op.slot, op.keys, seq=seq, site=site, base=base)


class LoggedOp(NamedTuple):
    """An operation on the tree as the log has it."""

    seq: int
    op_id: OpId
    op: TreeOp
    base: int


class Confirmed(NamedTuple):
    """What a message did to a client's tree."""

    verdicts: dict[OpId, Verdict]
    """Of the own operations that were in it: final."""
    changes: dict[OpId, tuple[Place | None, Place | None]]
    """Blocks that stand elsewhere than before, as ``MoveTree.changes`` tells it."""


class PendingTree:
    """A move tree with the own operations of one site on top."""

    def __init__(self, tree: MoveTree, site: int) -> None:
        """Take a tree of the confirmed log; from here on nobody else changes it."""
        self.tree = tree
        """What the user sees."""
        self.site = site
        self._pending: dict[OpId, tuple[TreeOp, int]] = {}
        """Operation and base, in the order of their counters."""
        self.verdicts: dict[OpId, Verdict] = {}
        """Of each pending operation: what became of it on top of what is confirmed; none of them final."""
        tree.mark()

    def add(self, op_id: OpId, op: TreeOp, base: int) -> Verdict:
        """Put an own operation on top."""
        assert op_id.site == self.site, "only own operations are pending"
        self._pending[op_id] = op, base
        verdict = self.verdicts[op_id] = self._judge(op_id, op, base)
        return verdict

    def confirm(self, ops: Iterable[LoggedOp]) -> Confirmed:
        """Apply what a message brought, own operations too, in order of seq."""
        ops = list(ops)
        if not ops:
            return Confirmed({}, {})
        tree, site = self.tree, self.site
        verdicts: dict[OpId, Verdict] = {}
        tree.watch()
        self._take_off()
        for seq, op_id, op, base in ops:
            verdict = judge(tree, op_id, op, seq, base)
            if op_id.site == site:
                verdicts[op_id] = verdict
                self._pending.pop(op_id, None)
        self._put_on()
        return Confirmed(verdicts, tree.changes())

    def drop(self, op_ids: Container[OpId]) -> dict[OpId, tuple[Place | None, Place | None]]:
        """Take away pending operations that were refused, or undone before they were sent."""
        self.tree.watch()
        self._take_off()
        self._pending = {op_id: pending for op_id, pending in self._pending.items() if op_id not in op_ids}
        self._put_on()
        return self.tree.changes()

    @contextmanager
    def without_own(self) -> Iterator[MoveTree]:
        """The tree as the log says, with no own operation on top; what is done to it stays."""
        self._take_off()
        try:
            yield self.tree
        finally:
            self._put_on()

    def _take_off(self) -> None:
        self.tree.rewind()
        self.tree.settle()

    def _put_on(self) -> None:
        self.tree.mark()
        self.verdicts = {op_id: self._judge(op_id, op, base) for op_id, (op, base) in self._pending.items()}

    def _judge(self, op_id: OpId, op: TreeOp, base: int) -> Verdict:
        # Above every seq; which one does not matter, since only the own site judges against it.
        return judge(self.tree, op_id, op, COUNTER_MAX + op_id.counter, base)
