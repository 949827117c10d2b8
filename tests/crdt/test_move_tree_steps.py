"""What a move costs does not grow with the document, its siblings or its history: counted in lines of Python run."""

from __future__ import annotations

import sys
from random import Random
from types import FrameType
from typing import Any

import pytest

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.move_tree import MoveTree
from collabkernel.crdt.tree.rekeys import fresh_keys
from tests.crdt.tree_hands import CHILD, ROOT_ID

pytestmark = pytest.mark.core


def document(size: int, section: int) -> MoveTree:
    tree = MoveTree()
    tree.add_root(ROOT_ID)
    for number, key in enumerate(fresh_keys(size, 1)):
        above = OpId(1, number // section * section) if number % section else ROOT_ID
        tree.insert(OpId(1, number), above, CHILD, key, seq=number, site=1, base=number)
    return tree


def lines_of_moves(tree: MoveTree, size: int, section: int, start: int = 0, moves: int = 300) -> int:
    """Lines that moves of random blocks to random sections run."""
    rng, lines = Random(4), 0

    def count(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    for number in range(start, start + moves):
        at = rng.randrange(size - 1)
        target = OpId(1, at if at % section else at + 1)
        above = OpId(1, rng.randrange(size // section) * section) if section < size else ROOT_ID
        seq = size + number
        before = sys.gettrace()
        sys.settrace(count)
        try:
            tree.move(target, above, CHILD, f"y000002b{number:04}V", seq=seq, site=2, base=seq)
        finally:
            sys.settrace(before)
    return lines


@pytest.mark.interpreted
@pytest.mark.heavy
@pytest.mark.parametrize("is_flat", [False, True])
def test_a_move_takes_as_many_steps_in_a_long_document_as_in_a_short_one(is_flat: bool):
    short, long = 1_000, 20_000
    steps = [
        lines_of_moves(document(size, size if is_flat else 20), size, size if is_flat else 20) for size in (short, long)
    ]

    assert steps[1] < steps[0] * 1.05


@pytest.mark.interpreted
@pytest.mark.heavy
def test_a_move_takes_as_many_steps_after_a_long_history():
    tree = document(1_000, 20)
    first = lines_of_moves(tree, 1_000, 20)
    for start in range(300, 3_000, 300):
        last = lines_of_moves(tree, 1_000, 20, start)

    assert last < first * 1.05
