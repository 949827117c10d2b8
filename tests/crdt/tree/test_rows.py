"""Rows of a tree; ``test_move_tree.py`` and the laws write and read whole ones."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.tree.rows import NodeRow, linked
from collabkernel.errors import UnknownReferenceError

pytestmark = pytest.mark.core


def test_a_row_needs_the_row_of_its_parent():
    with pytest.raises(UnknownReferenceError, match=r"2\.7"):
        linked([NodeRow(OpId(2, 7), OpId(0, 1), Slot.CHILD, "y000002a0V", 1, 2, False)])


def test_what_is_below_a_deleted_node_is_dead():
    nodes = linked(
        [
            NodeRow(OpId(2, 2), OpId(2, 1), Slot.INLINE, "y000002a0V", 2, 2, False),
            NodeRow(OpId(2, 1), OpId(0, 1), Slot.CHILD, "y000002a0V", 3, 2, True),
            NodeRow(OpId(0, 1), None, Slot.CHILD, "", 0, 0, False),
        ]
    )

    assert [nodes[id].is_dead for id in (OpId(0, 1), OpId(2, 1), OpId(2, 2))] == [False, True, True]
    assert nodes[OpId(0, 1)].children is None
