"""The movable list by its definition, slow and obvious: the oracle of ``test_rga.py``.

It keeps the set of all operations and works everything out from them each time it is asked.
"""

from __future__ import annotations

from typing import NamedTuple

from collabkernel.crdt.ids import OpId, Side, Stamp


class ListOp(NamedTuple):
    """One operation, of any kind."""

    kind: str
    """insert, delete, set, or move."""
    op_id: OpId
    stamp: Stamp
    element: OpId | None = None
    parent: OpId | None = None
    side: Side = Side.RIGHT
    value: object = None

    def references(self) -> list[OpId]:
        """The ops that have to come before this one."""
        return [op_id for op_id in (self.element, self.parent) if op_id is not None]


class NaiveList:
    """A grow-only set of operations."""

    def __init__(self) -> None:
        self.ops: dict[OpId, ListOp] = {}

    def apply(self, op: ListOp) -> None:
        self.ops[op.op_id] = op

    def slots(self) -> list[OpId]:
        """The in-order traversal of the tree of slots."""
        children: dict[tuple[OpId | None, Side], list[OpId]] = {}
        for op in sorted(self.ops.values(), key=lambda op: op.op_id):
            if op.kind in ("insert", "move"):
                children.setdefault((op.parent, op.side), []).append(op.op_id)
        order: list[OpId] = []
        # What is still to do: a slot whose subtree is to be visited, or a slot to be put down.
        todo: list[tuple[OpId, bool]] = [(slot, True) for slot in reversed(children.get((None, Side.RIGHT), []))]
        while todo:
            slot, is_subtree = todo.pop()
            if not is_subtree:
                order.append(slot)
                continue
            todo += [(child, True) for child in reversed(children.get((slot, Side.RIGHT), []))]
            todo.append((slot, False))
            todo += [(child, True) for child in reversed(children.get((slot, Side.LEFT), []))]
        return order

    def items(self) -> list[tuple[OpId, object]]:
        """(element, value) in order."""
        ops = self.ops.values()
        deleted = {op.element for op in ops if op.kind == "delete"}
        shown_in = {}
        values = {}
        for op in sorted(ops, key=lambda op: op.stamp):
            element = op.op_id if op.kind == "insert" else op.element
            if op.kind in ("insert", "move"):
                shown_in[element] = op.op_id
            if op.kind in ("insert", "set"):
                values[element] = op.value
        element_by_slot = {slot: element for element, slot in shown_in.items() if element not in deleted}
        return [
            (element_by_slot[slot], values[element_by_slot[slot]]) for slot in self.slots() if slot in element_by_slot
        ]
