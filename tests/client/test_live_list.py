"""A LiveList is a list that others change too, whose items keep their identity."""

from __future__ import annotations

from collections.abc import MutableSequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.client.live_list import LiveList
from collabkernel.errors import InvalidValueError
from tests.client.log_world import World
from tests.examples import examples

pytestmark = pytest.mark.core


@pytest.fixture
def items() -> LiveList:
    items = World(1).rooms[0].list("l")
    items.extend("abcd")
    return items


def test_it_is_a_mutable_sequence(items):
    assert isinstance(items, MutableSequence)
    assert items == ["a", "b", "c", "d"]
    assert items[1:3] == ["b", "c"]
    assert items[::-2] == ["d", "b"]
    assert items[-1] == "d"
    assert "c" in items
    assert items.index("c") == 2
    assert items.count("a") == 1
    assert items.pop() == "d"
    items.remove("a")
    items.insert(0, "x")
    items.insert(99, "y")
    items.insert(-1, "z")
    items += ["w"]
    assert items == ["x", "b", "c", "z", "y", "w"]
    for wrong in (6, -7):
        with pytest.raises(IndexError):
            items[wrong]
        with pytest.raises(IndexError):
            items[wrong] = 1
    with pytest.raises(ValueError, match="not in list"):
        items.index("nope")


SLICES = st.slices(8)
NUMBERS = st.integers(0, 99)
VALUES = st.lists(NUMBERS, max_size=4)


@examples(50)
@given(VALUES, SLICES, VALUES)
def test_slices_change_it_as_they_change_a_list(start, at, new):
    items, oracle = World(1).rooms[0].list("l"), list(start)
    items.extend(start)

    try:
        oracle[at] = new
    except ValueError:
        with pytest.raises(ValueError, match="slice"):
            items[at] = new
    else:
        items[at] = new
    assert items == oracle
    del oracle[at], items[at]
    assert items == oracle


@examples(50)
@given(st.lists(NUMBERS, min_size=1, max_size=6), st.data())
def test_move_shows_the_item_at_the_new_index(values, data):
    items, oracle = World(1).rooms[0].list("l"), list(values)
    items.extend(values)
    old, new = (data.draw(st.integers(-len(values), len(values) - 1)) for _ in range(2))

    items.move(old, new)
    moved = oracle.pop(old)
    oracle.insert(new % len(values), moved)

    assert items == oracle


def test_reverse_and_sort_move_the_items():
    items = World(1).rooms[0].list("l")
    items.extend([{"n": n} for n in (3, 1, 2)])
    first = items[0]

    items.sort(key=lambda item: item["n"])
    assert [item["n"] for item in items] == [1, 2, 3]
    assert items[2] is first
    items.reverse()
    assert items[0] is first
    assert [item["n"] for item in items] == [3, 2, 1]


def test_live_items_are_found_by_identity():
    items = World(1).rooms[0].list("l")
    items.extend([{"n": 1}, {"n": 1}])

    assert items.index(items[1]) == 1
    assert items.index({"n": 1}) == 0
    second = items[1]
    del items[1]
    with pytest.raises(ValueError, match="not in this list"):
        items.index(second)


def test_a_live_item_in_whose_place_something_else_was_put_is_not_found():
    world = World(2)
    ann = world.rooms[0].list("l")
    ann.extend([{"n": 1}, 2])
    old = ann[0]
    world.settle()
    world.rooms[1].list("l")[0] = "other"
    world.settle()

    with pytest.raises(ValueError, match="not in this list"):
        ann.remove(old)
    assert list(ann) == ["other", 2]
    assert ann.pop() == 2
    ann.remove("other")
    assert list(ann) == []


def test_concurrent_moves_leave_an_item_once_and_edits_follow_it():
    world = World(2)
    ann, bob = (room.list("l") for room in world.rooms)
    ann.extend([{"n": n} for n in range(4)])
    world.settle()

    ann.move(0, 3)
    bob.move(0, 2)
    bob[2]["n"] = "edited"
    world.settle()

    assert ann == bob
    assert sorted(str(item["n"]) for item in ann) == ["1", "2", "3", "edited"]


def test_item_assignment_keeps_the_place_of_a_concurrent_move():
    world = World(2)
    ann, bob = (room.list("l") for room in world.rooms)
    ann.extend("abc")
    world.settle()

    ann[0] = "A"
    bob.move(0, 2)
    world.settle()

    assert ann == bob == ["b", "c", "A"]


@pytest.mark.heavy
def test_a_long_extend_goes_in_several_envelopes_unless_in_a_batch():
    world = World(1)
    room = world.rooms[0]
    items = room.list("l")
    count = len(room.replica.pending)

    items.extend(range(2500))
    assert len(room.replica.pending) == count + 3
    with room.batch():
        items.extend(range(2500))
    assert len(room.replica.pending) == count + 4
    world.settle()
    assert world.log.tree.to_json()["l"] == [*range(2500), *range(2500)]


def test_typed_items_are_checked():
    items = World(1).rooms[0].list("l", int)

    with pytest.raises(InvalidValueError, match=r"item \[0\] is a int"):
        items.append("x")
    assert items == []


def test_a_wrong_value_in_extend_leaves_the_list_as_it_was(items):
    with pytest.raises(InvalidValueError):
        items.extend([1, object()])

    assert items == ["a", "b", "c", "d"]


def test_a_draft_can_be_read():
    draft = LiveList([1, {"a": 2}])

    assert (len(draft), draft[1], list(draft)) == (2, {"a": 2}, [1, {"a": 2}])
