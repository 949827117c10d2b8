"""The movable list: same state in any causal order, against the naive list, and what users see of it."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId, Side, Stamp
from collabkernel.crdt.rga import RgaList
from collabkernel.crdt.slot_tree import DESCENT_STEPS_MAX
from collabkernel.errors import LocalProtocolError, UnknownReferenceError
from tests.crdt.naive_list import ListOp, NaiveList

pytestmark = pytest.mark.core

LEFT, RIGHT = Side.LEFT, Side.RIGHT


def apply(items: RgaList, op: ListOp) -> object:
    match op.kind:
        case "insert":
            return items.insert(op.op_id, op.stamp, op.parent, op.side, op.value)
        case "delete":
            return items.delete(op.element)
        case "set":
            return items.set(op.element, op.stamp, op.value)
        case _:
            return items.move(op.op_id, op.stamp, op.element, op.parent, op.side)


def state(items: RgaList) -> object:
    return list(items.slots()), list(items.elements()), list(items.items()), len(items)


def restored(items: RgaList) -> RgaList:
    return RgaList.restore(items.slots(), items.elements())


class Replica:
    """A list, its oracle, and the ops it knows in the order it learnt them."""

    def __init__(self, site: int, skew: int = 0) -> None:
        self.site = site
        self.skew = skew
        self.counter = 0
        self.items = RgaList()
        self.naive = NaiveList()
        self.known: dict[OpId, ListOp] = {}

    def learn(self, op: ListOp) -> object:
        self.naive.apply(op)
        self.known[op.op_id] = op
        return apply(self.items, op)

    def pull(self, other: Replica) -> None:
        for op in other.known.values():
            if op.op_id not in self.known:
                self.learn(op)

    def next_op(self, kind: str, **parts: object) -> ListOp:
        self.counter += 1
        stamp = Stamp(self.counter + self.skew, self.site)
        return ListOp(kind, OpId(self.site, self.counter), stamp, **parts)

    def insert(self, index: int, value: object) -> OpId:
        parent, side = self.items.insertion_point(index)
        op = self.next_op("insert", parent=parent, side=side, value=value)
        assert self.learn(op) == index
        return op.op_id

    def move(self, element: OpId, index: int) -> None:
        parent, side = self.items.move_point(element, index)
        self.learn(self.next_op("move", element=element, parent=parent, side=side))

    def values(self) -> list[object]:
        return self.items.values()


class Action(NamedTuple):
    """What one replica does next; the numbers choose where."""

    replica: int
    kind: str
    first: float
    second: float


actions = st.lists(
    st.builds(
        Action,
        st.integers(0, 3),
        st.sampled_from(["insert", "insert", "type", "hang", "delete", "set", "move", "move", "hang_move", "pull"]),
        st.floats(0, 0.999),
        st.floats(0, 0.999),
    ),
    max_size=40,
)


def chosen(replica: Replica, action: Action) -> ListOp | None:
    """The op of an action on a replica as it is now, if there is one."""
    items, kind = replica.items, action.kind
    slots = list(items.slots())
    elements = list(items.elements())
    if kind in ("insert", "type"):
        index = len(items) if kind == "type" else int(action.first * (len(items) + 1))
        parent, side = items.insertion_point(index)
        return replica.next_op("insert", parent=parent, side=side, value=replica.counter)
    if not elements:
        return None
    # Anywhere in the tree, deleted elements and tombstones too, as a client with other habits would.
    element = elements[int(action.first * len(elements))].element
    hook = {"parent": slots[int(action.second * len(slots))].slot, "side": [LEFT, RIGHT][replica.counter % 2]}
    match kind:
        case "hang":
            return replica.next_op("insert", value=replica.counter, **hook)
        case "hang_move":
            return replica.next_op("move", element=element, **hook)
        case "delete" | "set":
            return replica.next_op(kind, element=element, value=replica.counter)
        case _ if len(items):
            moved = items.element_at(int(action.first * len(items)))
            parent, side = items.move_point(moved, int(action.second * len(items)))
            return replica.next_op("move", element=moved, parent=parent, side=side)
    return None


def played(script: list[Action]) -> list[Replica]:
    replicas = [Replica(site, skew) for site, skew in [(1, 0), (2, 7), (3, 3), (4, -2)]]
    for action in script:
        replica = replicas[action.replica]
        if action.kind == "pull":
            replica.pull(replicas[int(action.first * len(replicas))])
        elif (op := chosen(replica, action)) is not None:
            replica.learn(op)
    return replicas


def together(replicas: list[Replica]) -> Replica:
    everything = Replica(99)
    for replica in replicas:
        everything.pull(replica)
    return everything


def causal_order(ops: list[ListOp]) -> list[ListOp]:
    """The ops in this order, but each after those it names."""
    by_id = {op.op_id: op for op in ops}
    order: dict[OpId, ListOp] = {}
    todo = list(reversed(ops))
    while todo:
        op = todo[-1]
        missing = [by_id[name] for name in op.references() if name not in order]
        if missing:
            todo += missing
        else:
            order.setdefault(todo.pop().op_id, op)
    return list(order.values())


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


@settings(max_examples=40, deadline=None)
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


# Laws


@settings(max_examples=60, deadline=None)
@given(actions, st.data())
def test_any_causal_order_and_any_duplication_give_the_same_state(script: list[Action], data: st.DataObject):
    replicas = played(script)
    everything = together(replicas)
    ops = list(everything.known.values())
    shuffled = RgaList()
    seen: list[ListOp] = []
    for op in causal_order(data.draw(st.permutations(ops))):
        apply(shuffled, op)
        seen.append(op)
        apply(shuffled, seen[len(seen) // 2])

    assert state(shuffled) == state(everything.items)
    for replica in replicas:
        replica.pull(everything)
        assert state(replica.items) == state(everything.items)


@settings(max_examples=100, deadline=None)
@given(actions)
def test_agrees_with_the_naive_list(script: list[Action]):
    replicas = played(script)
    for replica in [*replicas, together(replicas)]:
        assert [slot.slot for slot in replica.items.slots()] == replica.naive.slots()
        assert list(replica.items.items()) == replica.naive.items()
        assert len(replica.items) == len(replica.naive.items())


@settings(max_examples=60, deadline=None)
@given(actions)
def test_what_an_op_returns_is_what_it_does(script: list[Action]):
    """Replaying the returned indexes on a plain list gives the list."""
    mirror: list[object] = []
    items = RgaList()
    for op in together(played(script)).known.values():
        done = apply(items, op)
        match op.kind, done:
            case "insert", int():
                mirror.insert(done, op.value)
            case "delete", int():
                del mirror[done]
            case "set", int():
                mirror[done] = op.value
            case "move", (old, new):
                mirror.insert(new, mirror.pop(old))
        assert items.values() == mirror


@settings(max_examples=60, deadline=None)
@given(actions, actions)
def test_revert_takes_back_the_last_ops(script: list[Action], unsent: list[Action]):
    replica = together(played(script))
    expected = state(replica.items)
    tokens = []
    for action in unsent:
        if (op := chosen(replica, action)) is None:
            continue
        makes = op.op_id if op.kind in ("insert", "move") else None
        tokens.append(replica.items.revert_token(op.element or op.op_id, makes))
        apply(replica.items, op)
    for token in reversed(tokens):
        replica.items.revert(token)

    assert state(replica.items) == expected
    assert [replica.items.index_of(element) for element, _ in replica.items.items()] == list(range(len(replica.items)))


def test_revert_of_an_op_that_changes_nothing_changes_nothing():
    replica = Replica(1)
    a = replica.insert(0, "a")
    before = state(replica.items)
    token = replica.items.revert_token(a, a)
    assert replica.items.insert(a, Stamp(1, 1), None, RIGHT, "a") is None
    replica.items.revert(token)

    assert state(replica.items) == before


def test_revert_of_an_op_that_was_refused_changes_nothing():
    replica = Replica(1)
    replica.insert(0, "a")
    before = state(replica.items)
    token = replica.items.revert_token(OpId(2, 1), OpId(2, 1))
    with pytest.raises(UnknownReferenceError):
        replica.items.insert(OpId(2, 1), Stamp(5, 2), OpId(7, 7), RIGHT, "b")
    replica.items.revert(token)

    assert state(replica.items) == before


def test_revert_out_of_order_is_refused():
    replica = Replica(1)
    token = replica.items.revert_token(OpId(1, 1), OpId(1, 1))
    replica.insert(0, "a")
    replica.insert(1, "b")
    before = state(replica.items)

    with pytest.raises(LocalProtocolError):
        replica.items.revert(token)
    assert state(replica.items) == before


@settings(max_examples=60, deadline=None)
@given(actions, actions)
def test_a_restored_snapshot_is_equal_and_goes_on_alike(script: list[Action], later: list[Action]):
    replica = together(played(script))
    copy = restored(replica.items)
    assert state(copy) == state(replica.items)
    for action in later:
        if (op := chosen(replica, action)) is not None:
            assert apply(copy, op) == replica.learn(op)

    assert state(copy) == state(replica.items)


def test_a_snapshot_with_a_missing_slot_is_refused():
    replica = Replica(1)
    replica.insert(0, "a")
    replica.insert(1, "b")
    slots, elements = list(replica.items.slots()), list(replica.items.elements())

    with pytest.raises(UnknownReferenceError):
        RgaList.restore(slots[1:], elements)
    with pytest.raises(UnknownReferenceError):
        RgaList.restore(slots[:1], elements)


# Shapes that hurt


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
