"""The movable list: what one user sees of it, what concurrent users see, and shapes that hurt."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId, Side, Stamp
from collabkernel.crdt.rga import RgaList
from collabkernel.crdt.slot_tree import DESCENT_STEPS_MAX
from collabkernel.errors import UnknownReferenceError
from tests.crdt.list_world import (
    LEFT,
    RIGHT,
    Action,
    Replica,
    apply,
    chosen,
    restored,
    state,
)
from tests.crdt.naive_list import ListOp
from tests.examples import examples

pytestmark = pytest.mark.core


# What one user sees


def test_insert_and_read():
    replica = Replica(1)
    for index, value in [(0, "b"), (0, "a"), (2, "d"), (2, "c")]:
        replica.insert(index, value)

    assert replica.values() == ["a", "b", "c", "d"]
    assert replica.items.values(1, 3) == ["b", "c"]
    assert list(replica.items.items(2)) == [(OpId(1, 4), "c"), (OpId(1, 3), "d")]
    assert [replica.items.value_at(i) for i in range(4)] == ["a", "b", "c", "d"]
    assert replica.items.index_of(OpId(1, 3)) == 3


def test_delete_is_for_ever():
    replica = Replica(1)
    a = replica.insert(0, "a")
    replica.insert(1, "b")

    assert replica.items.delete(a) == 0
    assert replica.items.delete(a) is None
    assert replica.items.set(a, Stamp(100, 1), "again") is None
    assert replica.items.move(OpId(1, 100), Stamp(100, 1), a, None, RIGHT) is None
    assert replica.values() == ["b"]
    assert a not in replica.items
    assert replica.items.knows(a)
    assert replica.items.index_of(a) is None
    assert replica.items.insert(OpId(1, 101), Stamp(101, 1), OpId(1, 100), RIGHT, "c") == 1


def test_set_is_last_writer_wins():
    replica = Replica(1)
    a = replica.insert(0, "a")

    assert replica.items.set(a, Stamp(9, 2), "new") == 0
    assert replica.items.set(a, Stamp(8, 3), "old") is None
    assert replica.items.set(a, Stamp(9, 2), "new") is None
    assert replica.items.value_of(a) == "new"


@pytest.mark.parametrize("old", range(5))
@pytest.mark.parametrize("new", range(5))
def test_move_puts_an_element_at_an_index(old: int, new: int):
    replica = Replica(1)
    for i in range(5):
        replica.insert(i, i)
    expected = list(range(5))
    expected.insert(new, expected.pop(old))
    element = replica.items.element_at(old)
    parent, side = replica.items.move_point(element, new)

    assert replica.items.move(OpId(1, 9), Stamp(9, 1), element, parent, side) == (old, new)
    assert replica.values() == expected
    assert replica.items.index_of(element) == new


def test_an_op_that_was_seen_changes_nothing():
    replica = Replica(1)
    a = replica.insert(0, "a")
    replica.insert(1, "b")
    replica.move(a, 1)
    before = state(replica.items)

    for op in replica.known.values():
        assert apply(replica.items, op) is None
    assert state(replica.items) == before


@pytest.mark.parametrize(
    "op",
    [
        ListOp("insert", OpId(2, 1), Stamp(5, 2), parent=OpId(7, 7)),
        ListOp("insert", OpId(2, 1), Stamp(5, 2), parent=None, side=LEFT),
        ListOp("delete", OpId(2, 1), Stamp(5, 2), element=OpId(7, 7)),
        ListOp("set", OpId(2, 1), Stamp(5, 2), element=OpId(7, 7)),
        ListOp("set", OpId(2, 1), Stamp(5, 2), element=OpId(1, 2)),
        ListOp("move", OpId(2, 1), Stamp(5, 2), element=OpId(7, 7), parent=OpId(1, 1)),
        ListOp("move", OpId(2, 1), Stamp(5, 2), element=OpId(1, 2), parent=OpId(1, 1)),
        ListOp("move", OpId(2, 1), Stamp(5, 2), element=OpId(1, 1), parent=OpId(7, 7)),
        ListOp("move", OpId(2, 1), Stamp(5, 2), element=OpId(1, 1), parent=None, side=LEFT),
    ],
)
def test_an_unknown_reference_is_refused_and_changes_nothing(op: ListOp):
    replica = Replica(1)
    replica.move(replica.insert(0, "a"), 0)  # OpId(1, 2) is a slot without an element of its own.
    before = state(replica.items)

    with pytest.raises(UnknownReferenceError):
        apply(replica.items, op)
    assert state(replica.items) == before
    assert apply(replica.items, op._replace(kind="insert", parent=None, side=RIGHT)) is not None


def test_lookups_out_of_range_are_refused():
    replica = Replica(1)
    a = replica.insert(0, "a")
    b = replica.insert(1, "b")
    replica.items.delete(b)
    items = replica.items

    for index in (-1, 1):
        with pytest.raises(IndexError):
            items.value_at(index)
        with pytest.raises(IndexError):
            items.element_at(index)
        with pytest.raises(IndexError):
            items.move_point(a, index)
    for index in (-1, 2):
        with pytest.raises(IndexError):
            items.insertion_point(index)
    with pytest.raises(IndexError):
        items.values(-1)
    for element in (b, OpId(7, 7)):
        with pytest.raises(UnknownReferenceError):
            items.value_of(element)
        with pytest.raises(UnknownReferenceError):
            items.move_point(element, 0)
    with pytest.raises(UnknownReferenceError):
        items.index_of(OpId(7, 7))
    assert items.values(1, 5) == []
    assert items.values(0, 0) == []


# What concurrent users see


def test_two_concurrent_moves_leave_the_element_once():
    ann, bob = Replica(1), Replica(2, skew=100)
    for i in range(4):
        ann.insert(i, i)
    bob.pull(ann)
    element = ann.items.element_at(1)
    ann.move(element, 3)
    bob.move(element, 0)
    ann.pull(bob)
    bob.pull(ann)

    assert ann.values() == bob.values() == [1, 0, 2, 3]


def test_a_concurrent_set_and_move_both_count():
    ann, bob = Replica(1), Replica(2, skew=100)
    ann.insert(0, "a")
    element = ann.insert(1, "b")
    bob.pull(ann)
    ann.learn(ann.next_op("set", element=element, value="B"))
    bob.move(element, 0)
    ann.pull(bob)
    bob.pull(ann)

    assert ann.values() == bob.values() == ["B", "a"]


def test_a_delete_wins_over_a_later_move_and_set():
    ann, bob = Replica(1), Replica(2, skew=100)
    ann.insert(0, "a")
    element = ann.insert(1, "b")
    bob.pull(ann)
    ann.learn(ann.next_op("delete", element=element))
    bob.move(element, 0)
    bob.learn(bob.next_op("set", element=element, value="B"))
    after = bob.insert(1, "c")
    ann.pull(bob)
    bob.pull(ann)

    assert ann.values() == bob.values() == ["c", "a"]
    assert ann.items.index_of(after) == 0


@examples(40)
@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=8), min_size=2, max_size=4),
    st.integers(0, 3),
    st.data(),
)
def test_concurrent_runs_never_interleave(runs: list[list[bool]], place: int, data: st.DataObject):
    """Typed forwards (True), backwards (False), or by turns: each run stays whole."""
    base = Replica(9)
    for i in range(3):
        base.insert(i, "-")
    base.learn(base.next_op("delete", element=base.items.element_at(1)))
    index = min(place, 2)
    replicas = [Replica(site) for site in range(1, len(runs) + 1)]
    for replica, run in zip(replicas, runs, strict=True):
        replica.pull(base)
        for length, is_forwards in enumerate(run):
            replica.insert(index + length * is_forwards, replica.site)
    merged = Replica(99)
    for replica in data.draw(st.permutations(replicas)):
        merged.pull(replica)
    sites = [value for value in merged.values() if value != "-"]

    assert len([site for i, site in enumerate(sites) if i == 0 or sites[i - 1] != site]) == len(runs)


# Shapes that hurt


@pytest.mark.heavy
@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_siblings_beside_long_chains(side: Side):
    """Every slot of a chain, far longer than a descent, gets a second child beyond the rest of the chain."""
    length = DESCENT_STEPS_MAX * 30
    replica = Replica(1 if side == RIGHT else 9)
    hook = replica.next_op("insert", value=0)
    replica.learn(hook)
    chain = [hook.op_id]
    for value in range(1, length):
        op = replica.next_op("insert", parent=chain[-1], side=side, value=value)
        replica.learn(op)
        chain.append(op.op_id)
    other = Replica(5)
    Random(3).shuffle(chain)
    for parent in chain:
        replica.learn(other.next_op("insert", parent=parent, side=side, value="other"))

    assert [slot.slot for slot in replica.items.slots()] == replica.naive.slots()
    assert list(replica.items.items()) == replica.naive.items()
    assert state(restored(replica.items)) == state(replica.items)


def test_many_siblings_at_one_place():
    ops = [ListOp("insert", OpId(site, 1), Stamp(1, site), value=site) for site in range(1, 1500)]
    Random(4).shuffle(ops)
    items = RgaList()
    for op in ops:
        apply(items, op)

    assert items.values() == list(range(1, 1500))


@pytest.mark.heavy
@pytest.mark.parametrize("seed", [1, 2])
def test_a_long_history_across_many_blocks(seed: int):
    rng = Random(seed)
    replicas = [Replica(1), Replica(2)]
    kinds = ["insert"] * 7 + ["hang", "delete", "delete", "set", "move", "hang_move"]
    for step in range(900):
        replica = replicas[step // 60 % 2]
        items = replica.items
        kind = rng.choice(kinds)
        if kind in ("insert", "delete") and len(items):
            if kind == "insert":
                replica.insert(rng.randrange(len(items) + 1), step)
            else:
                replica.learn(replica.next_op("delete", element=items.element_at(rng.randrange(len(items)))))
        elif (op := chosen(replica, Action(0, kind, rng.random() * 0.999, rng.random() * 0.999))) is not None:
            replica.learn(op)
        if step % 120 == 0:
            replicas[0].pull(replicas[1])
    replicas[1].pull(replicas[0])
    replicas[0].pull(replicas[1])

    assert state(replicas[0].items) == state(replicas[1].items)
    assert list(replicas[0].items.items()) == replicas[0].naive.items()
    assert [slot.slot for slot in replicas[0].items.slots()] == replicas[0].naive.slots()
