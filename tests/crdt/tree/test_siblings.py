"""Siblings stand sorted, however many they are, and however many have one key."""

from __future__ import annotations

from random import Random

import pytest

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.tree.siblings import CHUNK_NODES_MAX, Siblings

pytestmark = pytest.mark.core


class Item:
    """A node."""

    def __init__(self, key: str, id: OpId) -> None:
        self.key = key
        self.id = id

    def __lt__(self, other: Item) -> bool:
        return (self.key, self.id) < (other.key, other.id)


@pytest.mark.parametrize("loaded", [0, 40, pytest.param(CHUNK_NODES_MAX * 4, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("keys", [1, 5, 2000])
def test_siblings_are_a_sorted_list(loaded: int, keys: int):
    rng = Random(loaded + keys)
    ids = [OpId(site, counter) for site in (1, 2) for counter in range(loaded + CHUNK_NODES_MAX * 3)]
    rng.shuffle(ids)
    oracle = [Item(f"k{rng.randrange(keys)}", ids.pop()) for _ in range(loaded)]
    siblings = Siblings(oracle)
    oracle.sort()
    for _ in range(CHUNK_NODES_MAX * 3):
        item = Item(f"k{rng.randrange(keys)}", ids.pop())
        siblings.add(item)
        oracle.append(item)
        if rng.random() < 0.3:
            assert siblings.remove(oracle.pop(rng.randrange(len(oracle)))) is bool(oracle)
        # Read now and then, after few and after many changes.
        assert rng.random() < 0.95 or list(siblings) == sorted(oracle)
    oracle.sort()

    assert list(siblings) == oracle
    assert len(siblings) == len(oracle)
    for index in rng.sample(range(len(oracle)), 200):
        item = oracle[index]
        assert siblings.index(item) == index
        assert siblings.at(index) is item
        assert siblings.before(item) is (oracle[index - 1] if index else None)
        assert siblings.after(item) is (oracle[index + 1] if index + 1 < len(oracle) else None)
    while oracle:
        assert siblings.remove(oracle.pop(rng.randrange(len(oracle)))) is bool(oracle)
        assert rng.random() < 0.98 or list(siblings) == oracle
    with pytest.raises(IndexError):
        siblings.at(0)


def test_what_is_taken_back_stands_where_it_stood():
    items = [Item(f"k{number:03}", OpId(1, number)) for number in range(100)]
    siblings = Siblings(items)
    assert list(siblings) == items
    moved = items[7]
    siblings.remove(moved)
    moved.key = "k999"
    siblings.add(moved)
    siblings.remove(moved)
    moved.key = "k007"
    siblings.add(moved)
    assert siblings.index(moved) == 7
    # An insert that is taken off and put on again is another node of the same name.
    siblings.remove(moved)
    again = Item("k007", moved.id)
    siblings.add(again)

    assert siblings.at(7) is again
    assert len(siblings) == 100
