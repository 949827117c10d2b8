"""The tree of slots: in-order traversal, siblings by id, and a place found in few steps whatever the shape."""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

import pytest

from collabkernel.crdt.ids import OpId, Side
from collabkernel.crdt.slot_tree import Slot, SlotTree

pytestmark = pytest.mark.core

LEFT, RIGHT = Side.LEFT, Side.RIGHT


class Slots:
    """A tree whose slots go by their counter, 0 is the root."""

    def __init__(self) -> None:
        self.tree: SlotTree[str] = SlotTree()
        self.by_name = {0: self.tree.root}

    def add(self, name: int, parent: int, side: Side, held: str | None = "shown") -> int:
        self.by_name[name] = Slot(OpId(1, name), self.by_name[parent], side, None, held)
        return self.tree.add(self.by_name[name])

    def names(self) -> list[int]:
        return [slot.id.counter for slot in self.tree.index]


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of Python a call runs: its cost, the same on every machine."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def test_left_children_come_before_and_right_children_after():
    slots = Slots()
    for name, parent, side in [(1, 0, RIGHT), (2, 1, LEFT), (3, 1, RIGHT), (4, 2, RIGHT), (5, 3, LEFT), (6, 2, LEFT)]:
        slots.add(name, parent, side)

    assert slots.names() == [0, 6, 2, 4, 1, 5, 3]


@pytest.mark.parametrize("side", [LEFT, RIGHT])
@pytest.mark.parametrize("order", [(2, 3, 4), (2, 4, 3), (3, 2, 4), (3, 4, 2), (4, 2, 3), (4, 3, 2)])
def test_siblings_are_in_id_order_with_their_subtrees(side: Side, order: tuple[int, ...]):
    slots = Slots()
    slots.add(1, 0, RIGHT)
    for name in order:
        slots.add(name, 1, side)
        slots.add(name + 10, name, LEFT)
        slots.add(name + 20, name, RIGHT)
    subtrees = [12, 2, 22, 13, 3, 23, 14, 4, 24]

    assert slots.names() == ([0, *subtrees, 1] if side == LEFT else [0, 1, *subtrees])


def test_add_returns_how_many_shown_slots_stand_before():
    slots = Slots()

    assert slots.add(1, 0, RIGHT) == 0
    assert slots.add(2, 1, RIGHT, held=None) == 1
    assert slots.add(3, 2, RIGHT) == 1
    assert slots.add(4, 1, LEFT) == 0
    assert slots.add(5, 2, RIGHT) == 3


@pytest.mark.parametrize("seed", range(3))
def test_removing_the_last_ones_leaves_the_tree_as_it_was(seed: int):
    rng = Random(seed)
    slots, expected = Slots(), Slots()
    history = []
    for name in rng.sample(range(1, 80), 79):
        parent = rng.choice([*slots.by_name])
        history.append((name, parent, RIGHT if parent == 0 else rng.choice([LEFT, RIGHT])))
        slots.add(*history[-1])
    for name, _, _ in reversed(history[40:]):
        slots.tree.remove(slots.by_name.pop(name))
    for step in history[:40]:
        expected.add(*step)
    assert slots.names() == expected.names()
    for step in history[40:]:
        assert slots.add(*step) == expected.add(*step)

    assert slots.names() == expected.names()


@pytest.mark.heavy
@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_a_place_behind_a_long_chain_is_found_in_few_steps(side: Side):
    length = 4000
    slots = Slots()
    slots.add(1, 0, RIGHT)
    # Towards the left the newer sibling has the lower id.
    names = range(10_002, 10_002 + length)
    for name, parent in zip(names, [1, *names], strict=False):
        slots.add(name, parent, side)
    others = iter(range(20_000, 30_000) if side == RIGHT else range(10_000, 2, -1))
    slots.add(next(others), 1, side)  # Works out the depths, once.

    for name in Random(1).sample(names[:-100], 20):
        assert lines_run(lambda name=name: slots.add(next(others), name, side)) < 1500
    assert slots.names() == slots_in_order(slots)


@pytest.mark.heavy
@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_a_chain_however_deep_is_ordered_without_recursion(side: Side):
    slots = Slots()
    for name in range(1, 10_001):
        slots.by_name[name] = Slot(OpId(1, name), slots.by_name[name - 1], side if name > 1 else RIGHT, None, "shown")
        slots.tree.hang(slots.by_name[name])
    assert slots.names() == [0]

    slots.tree.order()

    assert slots.names() == slots_in_order(slots)
    assert slots.add(20_000, 5_000, side) == (10_000 if side == RIGHT else 5_000)


def slots_in_order(slots: Slots) -> list[int]:
    """The traversal by its definition, without recursion: Python would not survive the chain."""
    children: dict[tuple[OpId, Side], list[Slot[str]]] = {}
    for slot in sorted(slots.by_name.values(), key=lambda slot: slot.id):
        if slot.parent is not None:
            children.setdefault((slot.parent.id, slot.side), []).append(slot)
    order: list[int] = []
    todo: list[tuple[Slot[str], bool]] = [(slots.tree.root, True)]
    while todo:
        slot, is_subtree = todo.pop()
        if not is_subtree:
            order.append(slot.id.counter)
            continue
        todo += [(child, True) for child in reversed(children.get((slot.id, RIGHT), []))]
        todo.append((slot, False))
        todo += [(child, True) for child in reversed(children.get((slot.id, LEFT), []))]
    return order
