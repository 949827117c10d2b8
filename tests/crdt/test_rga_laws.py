"""The movable list: same state in any causal order, against the naive list; taking back; snapshots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.rga import RgaList
from collabkernel.errors import LocalProtocolError, UnknownReferenceError
from tests.crdt.list_world import (
    RIGHT,
    Action,
    Replica,
    actions,
    apply,
    causal_order,
    chosen,
    played,
    restored,
    state,
    together,
)
from tests.crdt.naive_list import ListOp
from tests.examples import examples

pytestmark = pytest.mark.core


@examples(60)
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


@examples(100)
@given(actions)
def test_agrees_with_the_naive_list(script: list[Action]):
    replicas = played(script)
    for replica in [*replicas, together(replicas)]:
        assert [slot.slot for slot in replica.items.slots()] == replica.naive.slots()
        assert list(replica.items.items()) == replica.naive.items()
        assert len(replica.items) == len(replica.naive.items())


@examples(60)
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


@examples(60)
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


@examples(60)
@given(actions, st.integers(0, 30), st.integers(0, 30))
def test_a_list_that_was_loose_meanwhile_is_equal_and_goes_on_alike(script: list[Action], loosened: int, loose: int):
    everything = together(played(script))
    items = RgaList()
    for i, op in enumerate(everything.known.values()):
        if i == loosened:
            items.loosen()
        if i == loosened + loose and items.is_loose:
            items.order()
        apply(items, op)
    items.order()

    assert state(items) == state(everything.items)
    assert [items.index_of(element) for element, _ in items.items()] == list(range(len(items)))


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


@examples(60)
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
