"""Rekeyed siblings: translated keys keep their order, fresh ones are short, hostile ones are refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.tree.rekeys import FLOOR, Rekey, RekeyHistory, check_rekey, fresh_keys, join_keys, shortened
from collabkernel.errors import InvalidOperationError
from collabkernel.limits import ORDER_KEY_BYTES_MAX
from tests.crdt.test_order_key import built, inserts
from tests.examples import examples

pytestmark = pytest.mark.core


@examples(100)
@given(inserts, st.sets(st.integers(0, 24)))
def test_translated_keys_keep_their_order_and_stand_between_the_same_siblings(
    places: list[tuple[float, int]], late: set[int]
):
    keys = built(places)
    old = [key for i, key in enumerate(keys) if i not in late]
    rekey = Rekey(1, 9, old, fresh_keys(len(old), 9))
    now = [rekey.new[rekey.old.index(key)] if key in old else rekey.translate(key) for key in keys]

    assert now == sorted(set(now))
    for left, right in pairwise([None, *now, None]):
        assert key_between(left, right, 5)


def test_rekeys_that_were_seen_or_are_own_translate_nothing():
    history, place = RekeyHistory(), (OpId(1, 1), Slot.CHILD)
    first, second = Rekey(5, 9, ["a"], ["b"]), Rekey(8, 9, ["b"], ["c"])
    history.add(*place, first)
    history.add(*place, second)

    assert history.translate(*place, "k", site=1, base=8) == "k"
    assert history.translate(*place, "k", site=1, base=5) == "ck"
    assert history.translate(*place, "a", site=1, base=4) == "cba"
    assert history.translate(*place, "k", site=9, base=4) == "k"
    assert history.translate(OpId(1, 1), Slot.INLINE, "k", site=1, base=4) == "k"
    assert history.items() == [(*place, first), (*place, second)]
    assert history.add(*place, Rekey(9, 9, ["c"], ["d"])) is first
    assert history.translate(*place, "k", site=1, base=4) == "dck"
    history.remove_last(*place, first)
    assert history.items() == [(*place, first), (*place, second)]
    history.remove_last(*place)
    history.remove_last(*place)
    assert not history


def test_fresh_keys_are_short():
    keys = fresh_keys(5000, 9)

    assert keys == sorted(set(keys))
    assert keys[0] > FLOOR
    assert max(map(len, keys)) <= 12
    check_rekey(((OpId(1, i), key) for i, key in enumerate(keys)), 9)


def test_joined_keys_are_bounded():
    assert join_keys(["a", "b", "c"]) == "abc"
    assert join_keys(["a" * 100, "b" * 100, "c" * 100]) == "a" * 100 + "c" * 100
    assert join_keys(["a" * 200, "c" * 100]) == "a" * 200
    assert len(join_keys(["a" * ORDER_KEY_BYTES_MAX, "c"])) == ORDER_KEY_BYTES_MAX


@pytest.mark.parametrize(
    "keys",
    [
        [(1, "y000009a1V"), (2, "y000009a0V")],
        [(1, "y000009a0V"), (2, "y000009a0V")],
        [(1, "y000009a0V"), (1, "y000009a1V")],
        [(1, "y000008a0V")],
        [(1, "y000009a0V"), (2, "y000009a0Vy000009a0V")],
        [(1, "2000000a0Vy000009a0V")],
        [(1, "2000000A0V")],
        [(1, "2000000a0x000009a0V")],
        [(1, "")],
    ],
)
def test_what_is_no_rekey_is_refused(keys: list[tuple[int, str]]):
    with pytest.raises(InvalidOperationError):
        check_rekey(((OpId(1, counter), key) for counter, key in keys), 9)


@given(st.lists(st.text("ab", min_size=1, max_size=120), min_size=1, max_size=8), st.text("c", max_size=256))
def test_keys_can_be_joined_step_by_step(keys: list[str], own: str):
    kept: list[str] = []
    for key in keys:
        kept = shortened([*kept, key])

    assert join_keys([*kept, own]) == join_keys([*keys, own])


def test_of_a_parent_that_is_gone_nothing_is_kept():
    history, gone, other = RekeyHistory(), OpId(1, 1), OpId(1, 2)
    for parent, slot in ((gone, Slot.CHILD), (gone, Slot.INLINE), (other, Slot.CHILD)):
        history.add(parent, slot, Rekey(5, 9, ["a"], ["b"]))

    history.forget(gone)

    assert [(parent, slot) for parent, slot, _ in history.items()] == [(other, Slot.CHILD)]
