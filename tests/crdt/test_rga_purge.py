"""Letting go of dead slots: what is shown and where stays, and what is left goes on as a list of its own."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId, Side, Stamp
from collabkernel.crdt.rga import RgaList
from tests.crdt.list_world import restored, state
from tests.examples import examples

LEFT, RIGHT = Side.LEFT, Side.RIGHT


def op(counter: int, site: int = 1) -> OpId:
    return OpId(site, counter)


def chain(count: int) -> RgaList:
    """Elements 1 to ``count``, as if typed one after the other."""
    items = RgaList()
    for n in range(1, count + 1):
        items.insert(op(n), Stamp(n, 1), op(n - 1) if n > 1 else None, RIGHT, n)
    return items


def test_a_dead_slot_goes_from_within_a_chain():
    items = chain(5)
    for n in (1, 2, 4):
        items.delete(op(n))
    assert sorted(items.dead_slots()) == [op(1), op(2), op(4)]

    assert items.purge([op(1), op(2), op(4)]) == [op(1), op(2), op(4)]

    assert list(items.slots()) == [(op(3), None, RIGHT), (op(5), op(3), RIGHT)]
    assert items.values() == [3, 5]
    assert not items.knows(op(1))
    assert state(restored(items)) == state(items)


def test_what_is_not_dead_or_not_there_is_passed_over():
    items = chain(3)
    items.delete(op(2))

    assert items.purge([op(1), op(3), op(9)]) == []
    assert items.purge([op(2), op(2)]) == [op(2)]
    assert items.purge([op(2)]) == []
    assert items.values() == [1, 3]


def test_a_slot_whose_element_moved_away_stays_as_long_as_the_element():
    items = chain(3)
    items.move(op(4), Stamp(9, 1), op(1), op(3), RIGHT)
    assert list(items.dead_slots()) == []

    assert items.purge([op(1)]) == []

    items.delete(op(1))
    assert items.purge([op(1), op(4)]) == [op(1), op(4)]
    assert items.values() == [2, 3]


def test_a_slot_from_which_two_hang_waits_until_one_has_gone():
    items = chain(1)
    items.insert(op(2), Stamp(2, 1), op(1), LEFT, 2)
    items.insert(op(3), Stamp(3, 1), op(1), RIGHT, 3)
    items.delete(op(1))
    assert items.purge([op(1)]) == []

    items.delete(op(2))

    assert items.purge([op(1), op(2)]) == [op(2), op(1)]
    assert list(items.slots()) == [(op(3), None, RIGHT)]


def test_a_slot_stays_where_its_child_would_not_stand_in_its_place():
    items = RgaList()
    items.insert(op(5), Stamp(1, 1), None, RIGHT, "first")
    items.insert(op(7), Stamp(2, 1), None, RIGHT, "second")
    items.insert(op(9), Stamp(3, 1), op(5), RIGHT, "below the first")
    items.delete(op(5))
    assert items.purge([op(5)]) == []

    items.insert(op(10), Stamp(4, 1), op(7), RIGHT, "below the second")
    items.delete(op(7))

    assert items.purge([op(7)]) == [op(7)]
    assert items.values() == ["below the first", "below the second"]
    assert state(restored(items)) == state(items)


def test_a_loose_list_is_purged_too():
    items, loose = chain(40), RgaList()
    loose.loosen()
    for n in range(1, 41):
        loose.insert(op(n), Stamp(n, 1), op(n - 1) if n > 1 else None, RIGHT, n)
    dead = [op(n) for n in range(1, 41) if n % 5]
    for each in (items, loose):
        for element in dead:
            each.delete(element)
        assert each.purge(dead) == dead
    loose.order()
    assert state(loose) == state(items)


def grow(items: RgaList, rng: random.Random, steps: int, first: int, deletes: float) -> None:
    """Edits of several sites, one after the other, by index; some hang where they would not by index."""
    for n in range(first, first + steps):
        op_id, stamp = OpId(rng.randint(1, 4), n), Stamp(n, 1)
        count = len(items)
        if count and rng.random() < deletes:
            items.delete(items.element_at(rng.randrange(count)))
        elif count and rng.random() < 0.2:
            element = items.element_at(rng.randrange(count))
            items.move(op_id, stamp, element, *items.move_point(element, rng.randrange(count)))
        elif rng.random() < 0.3:
            slots = [slot.slot for slot in items.slots()]
            parent = rng.choice(slots) if slots else None
            items.insert(op_id, stamp, parent, rng.choice((LEFT, RIGHT)) if parent else RIGHT, n)
        else:
            items.insert(op_id, stamp, *items.insertion_point(rng.randint(0, count)), n)


@examples(200)
@given(st.integers(0, 1 << 32))
def test_purged_lists_show_the_same_and_go_on_alike(seed):
    rng = random.Random(seed)
    items = RgaList()
    grow(items, rng, rng.randint(1, 120), 1, rng.choice((0.3, 0.6)))
    dead = sorted(items.dead_slots())
    asked = sorted(rng.sample(dead, rng.randint(0, len(dead))))
    shown, twin = list(items.items()), restored(items)

    gone = items.purge(asked)

    assert set(gone) <= set(asked)
    assert list(items.items()) == shown
    assert twin.purge(asked) == gone
    copy = restored(items)
    assert state(copy) == state(items) == state(twin)
    for each in (items, copy, twin):
        grow(each, random.Random(seed + 1), 60, 1000, 0.3)
    assert state(copy) == state(items) == state(twin)


@examples(60)
@given(st.integers(0, 1 << 32))
def test_fewer_than_twice_as_many_dead_slots_stay_as_are_alive(seed):
    rng = random.Random(seed)
    items = RgaList()
    for n in range(1, rng.randint(50, 300)):  # one site: what it inserts always comes behind its older siblings
        if len(items) and rng.random() < 0.6:
            items.delete(items.element_at(rng.randrange(len(items))))
        else:
            items.insert(op(n), Stamp(n, 1), *items.insertion_point(rng.randint(0, len(items))), n)
    items.purge(sorted(items.dead_slots()))
    assert len(list(items.dead_slots())) < max(2 * len(items), 1)
