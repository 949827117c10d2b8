"""The last-writer-wins map: the higher stamp stands, in any order and with any duplication."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import Stamp
from collabkernel.crdt.lww import TOMBSTONE, LwwMap
from tests.examples import examples

pytestmark = pytest.mark.core

Op = tuple[str, Stamp, object]


def apply(state: LwwMap, op: Op) -> bool:
    key, stamp, value = op
    return state.apply_delete(key, stamp) if value is TOMBSTONE else state.apply_set(key, stamp, value)


def folded(ops: list[Op]) -> LwwMap:
    state = LwwMap()
    for op in ops:
        apply(state, op)
    return state


values = st.one_of(st.just(TOMBSTONE), st.integers(), st.none(), st.text(max_size=3))
ops_lists = st.lists(
    st.tuples(st.sampled_from("abc"), st.builds(Stamp, st.integers(1, 6), st.integers(1, 4)), values),
    max_size=20,
    unique_by=lambda op: op[1],
)


def test_the_higher_stamp_wins():
    state = LwwMap()

    assert state.apply_set("title", Stamp(2, 1), "new")
    assert not state.apply_set("title", Stamp(1, 9), "old")
    assert state.get("title") == "new"


def test_the_higher_site_breaks_a_tie():
    state = folded([("title", Stamp(2, 7), "seven"), ("title", Stamp(2, 3), "three")])

    assert state.get("title") == "seven"


def test_an_equal_stamp_is_the_same_op():
    state = LwwMap()
    state.apply_set("title", Stamp(2, 1), "new")

    assert not state.apply_set("title", Stamp(2, 1), "new")
    assert state.apply_delete("title", Stamp(3, 1))
    assert not state.apply_delete("title", Stamp(3, 1))


def test_a_delete_holds_against_an_older_set_that_comes_later():
    state = LwwMap()

    assert state.apply_delete("title", Stamp(2, 1))
    assert not state.apply_set("title", Stamp(1, 1), "late")
    assert "title" not in state
    assert state.get("title", "none") == "none"
    assert state.register("title") == (Stamp(2, 1), TOMBSTONE)


def test_a_newer_set_brings_a_deleted_key_back():
    state = folded([("title", Stamp(1, 1), "a"), ("title", Stamp(2, 1), TOMBSTONE), ("title", Stamp(3, 1), "b")])

    assert dict(state.items()) == {"title": "b"}


def test_none_is_a_value_like_others():
    state = folded([("title", Stamp(1, 1), None)])

    assert "title" in state
    assert len(state) == 1
    assert state.get("title", "default") is None


def test_state_is_one_register_a_key():
    state = folded([("title", Stamp(i, 1), i) for i in range(1, 1000)])

    assert state.registers() == [("title", (Stamp(999, 1), 999))]


def test_an_unknown_key_has_no_register():
    assert LwwMap().register("title") is None
    assert "title" not in LwwMap()


@examples(60)
@given(ops_lists, st.data())
def test_any_order_and_any_duplication_give_the_same_state(ops: list[Op], data: st.DataObject):
    shuffled = data.draw(st.permutations(ops + ops[: len(ops) // 2]))

    assert folded(shuffled).registers() == folded(ops).registers()


def test_all_orders_of_three_writes_agree():
    ops = [("k", Stamp(1, 1), "a"), ("k", Stamp(2, 1), TOMBSTONE), ("k", Stamp(2, 2), "b")]

    assert {repr(folded(list(order)).registers()) for order in permutations(ops)} == {repr([("k", (Stamp(2, 2), "b"))])}


@examples(60)
@given(ops_lists)
def test_agrees_with_the_maximum_of_each_key(ops: list[Op]):
    state = folded(ops)
    highest: dict[str, tuple[Stamp, object]] = {}
    for key, stamp, value in ops:
        if key not in highest or highest[key][0] < stamp:
            highest[key] = (stamp, value)

    live = {key: value for key, (_, value) in highest.items() if value is not TOMBSTONE}
    assert state.registers() == sorted(highest.items(), key=lambda item: item[0])
    assert dict(state.items()) == live
    assert len(state) == len(live)
    assert all((key in state) == (key in live) for key in "abc")


@examples(60)
@given(ops_lists, ops_lists)
def test_restore_takes_back_the_last_ops(before: list[Op], unsent: list[Op]):
    state = folded(before)
    expected, live_count = state.registers(), len(state)
    tokens = []
    for op in unsent:
        tokens.append((op[0], state.register(op[0])))
        apply(state, op)
    for key, register in reversed(tokens):
        state.restore(key, register)

    assert state.registers() == expected
    assert len(state) == live_count


@examples(40)
@given(ops_lists, ops_lists)
def test_a_restored_snapshot_goes_on_alike(ops: list[Op], later: list[Op]):
    state = folded(ops)
    copy = LwwMap(state.registers())

    assert len(copy) == len(state)
    assert [apply(copy, op) for op in later] == [apply(state, op) for op in later]
    assert copy.registers() == state.registers()
    assert len(copy) == len(state)
