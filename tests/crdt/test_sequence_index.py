"""The counted sequence agrees with a plain list, across block splits and with most entries hidden."""

from __future__ import annotations

from bisect import bisect
from random import Random
from typing import Any

import pytest

from collabkernel.crdt.sequence_index import BLOCK_ENTRIES_FILLED, Block, SequenceIndex

pytestmark = pytest.mark.core


class Item:
    __slots__ = ("block", "name", "offset")

    block: Block[Any]
    offset: int

    def __init__(self, name: int) -> None:
        self.name = name


class Pair:
    """The index and, beside it, the plain list of (item, is shown) that it must agree with."""

    def __init__(self) -> None:
        first = Item(-1)
        self.index = SequenceIndex(first)
        self.plain: list[list[Any]] = [[first, False]]

    def insert(self, at: int, is_after: bool, is_shown: bool) -> None:
        item = Item(len(self.plain))
        rank = self.index.insert(self.plain[at][0], is_after, item, is_shown)
        self.plain.insert(at + is_after, [item, is_shown])
        assert rank == self.rank(at + is_after)

    def toggle(self, at: int) -> None:
        entry = self.plain[at]
        entry[1] = not entry[1]
        assert self.index.set_shown(entry[0], entry[1]) == self.rank(at)

    def remove(self, at: int) -> None:
        self.index.remove(self.plain.pop(at)[0])

    def rank(self, at: int) -> int:
        return sum(is_shown for _, is_shown in self.plain[:at])

    def check(self) -> None:
        items = [item for item, _ in self.plain]
        shown = [item for item, is_shown in self.plain if is_shown]
        assert list(self.index) == items
        assert len(self.index) == len(shown)
        assert list(self.index.shown()) == shown
        assert [self.index.at(i) for i in range(len(shown))] == shown
        assert [self.index.rank(item) for item in shown] == list(range(len(shown)))
        assert [self.index.next_after(item) for item in items] == [*items[1:], None]
        for start in range(0, len(shown) + 2, 7):
            assert list(self.index.shown(start)) == shown[start:]


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_plain_list(seed: int):
    rng = Random(seed)
    pair = Pair()
    for step in range(900):
        size = len(pair.plain)
        kind = rng.random()
        if kind < 0.75:
            at = rng.randrange(size)
            pair.insert(at, at == 0 or rng.random() < 0.5, rng.random() < (0.9 if seed else 0.1))
        elif kind < 0.95 and size > 1:
            pair.toggle(rng.randrange(1, size))
        elif size > 1:
            pair.remove(rng.randrange(1, size))
        if step % 300 == 0:
            pair.check()
    pair.check()


def test_appends_fill_their_blocks():
    pair = Pair()
    for _ in range(BLOCK_ENTRIES_FILLED * 3):
        pair.insert(len(pair.plain) - 1, True, True)
    pair.check()
    blocks = {id(item.block): len(item.block.entries) for item, _ in pair.plain}

    assert sorted(blocks.values())[1:] == [BLOCK_ENTRIES_FILLED] * 3


def test_removing_whole_blocks():
    pair = Pair()
    for _ in range(BLOCK_ENTRIES_FILLED * 3):
        pair.insert(0, True, True)
    while len(pair.plain) > 1:
        pair.remove(len(pair.plain) // 2 or 1)
    pair.check()
    pair.insert(0, True, True)
    pair.check()


def test_loads_in_bulk():
    rng = Random(5)
    pair = Pair()
    items = [Item(i) for i in range(1000)]
    shown = bytearray([0, *(rng.random() < 0.5 for _ in items[1:])])
    pair.index.load(items, shown)
    pair.plain = [[item, bool(flag)] for item, flag in zip(items, shown, strict=True)]

    pair.check()
    for _ in range(300):
        pair.insert(rng.randrange(len(pair.plain)), True, True)
    pair.check()


@pytest.mark.parametrize("first", [1, 40, 700])
@pytest.mark.parametrize("last", [1, 300, 999])
def test_finds_the_ends_of_a_run(first: int, last: int):
    if last < first:
        first, last = last, first
    items = [Item(i) for i in range(1000)]
    index = SequenceIndex(items[0])
    index.load(items, bytearray(1000))
    asked = []

    def is_in_run(item: Item) -> bool:
        asked.append(item)
        return first <= item.name <= last

    for start in (first, (first + last) // 2, last):
        assert index.last_in_run(items[start], is_in_run) is items[last]
        assert index.first_in_run(items[start], is_in_run) is items[first]
    assert len(asked) < 6 * 14


def test_places_are_in_order():
    """Fenwick's prefix sums are monotone even with empty blocks between."""
    pair = Pair()
    for _ in range(BLOCK_ENTRIES_FILLED * 5):
        pair.insert(len(pair.plain) - 1, True, False)
    for at in (1, 300, 301, 900):
        pair.toggle(at)
    names = [pair.index.at(i).name for i in range(4)]

    assert names == [1, 300, 301, 900]
    assert bisect(names, 300) == 2
