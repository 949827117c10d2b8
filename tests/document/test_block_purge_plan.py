"""What of deleted blocks is worth purging, by which operations."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document import block_edits as edits
from collabkernel.document import block_purge_plan
from collabkernel.document.block_purge_plan import groups, plan_block_purges, still_purged_blocks
from collabkernel.document.block_purging import purge_blocks
from collabkernel.document.operations import Purge
from collabkernel.limits import PURGED_IDS
from tests.document.block_world import BODY, Typist, World
from tests.document.test_block_purging import Author
from tests.examples import examples, seeds

pytestmark = pytest.mark.core
EVER = 10**9


def test_what_was_deleted_by_then_goes_and_what_was_deleted_since_stays():
    author = Author("one", "two", "three", "four")
    one, two, three, _ = author.blocks
    author.ann.do(edits.move_block, three, two, 0)
    author.delete(two)
    seq = author.world.server.head
    author.delete(one)

    assert list(plan_block_purges(author.document, seq)) == [(Purge(ROOT, (two,)), 2)]
    assert list(plan_block_purges(author.document, EVER)) == [(Purge(ROOT, (one, two)), 3)]
    assert list(plan_block_purges(author.document, 0)) == []


def test_what_was_back_since_then_is_not_purged():
    author = Author("one", "two")
    one, two = author.blocks
    author.delete(one, two)
    seq = author.world.server.head
    op = Purge(ROOT, (one, two))
    assert still_purged_blocks(author.document, op, seq) == (op, 2)

    author.ann.do(edits.restore_block, one)
    author.world.settle()
    assert still_purged_blocks(author.document, op, seq) == (Purge(ROOT, (two,)), 1)
    author.delete(one)
    assert still_purged_blocks(author.document, op, seq) == (Purge(ROOT, (two,)), 1)
    assert still_purged_blocks(author.document, op, author.world.server.head) == (op, 2)

    author.purge(one, two)
    assert still_purged_blocks(author.document, op, EVER) is None


def test_a_half_that_was_deleted_lately_keeps_the_other():
    author = Author("abcdef")
    (block,) = author.blocks
    half = author.split(block, 3)
    author.delete(block)
    seq = author.world.server.head
    author.delete(half)

    assert list(plan_block_purges(author.document, seq)) == []
    assert list(plan_block_purges(author.document, EVER)) == [(Purge(ROOT, (block, half)), 2)]


def test_many_go_by_several_operations_what_stood_in_others_first():
    author = Author("outer")
    (outer,) = author.blocks
    inner = [author.ann.do(edits.insert_block, outer, n, "paragraph") for n in range(PURGED_IDS + 10)]
    author.world.settle()
    author.delete(*reversed(inner), outer)

    purges = list(plan_block_purges(author.document, EVER))

    assert [count for _, count in purges] == [PURGED_IDS, 11]
    assert outer in purges[1][0].ids
    for op, count in purges:
        assert still_purged_blocks(author.document, op, EVER) == (op, count)
        purge_blocks(author.document, op.ids)
    assert set(author.document.blocks) == {BODY}


def test_more_than_an_operation_names_that_have_to_go_at_once_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(block_purge_plan, "PURGED_IDS", 5)
    author = Author("abcdefgh", "plain")
    block, plain = author.blocks
    for index in range(5, 0, -1):
        author.ann.do(edits.split_block, block, index)
    author.world.settle()
    author.delete(*author.ann.blocks)

    assert list(plan_block_purges(author.document, EVER)) == [(Purge(ROOT, (plain,)), 1)]


def test_what_is_deeper_than_an_operation_has_names_goes_as_one():
    author = Author("outer")
    (outer,) = author.blocks
    for _ in range(PURGED_IDS + 10):
        author.ann.do(edits.insert_block, outer, 0, "paragraph")
    author.delete(outer)

    assert list(plan_block_purges(author.document, EVER)) == [(Purge(ROOT, (outer,)), PURGED_IDS + 11)]


tops = st.integers(0, 9).map(lambda n: OpId(1, n + 1))


@examples(200)
@given(st.dictionaries(tops, st.sets(tops)))
def test_groups_come_before_those_that_need_them(needs: dict[OpId, set[OpId]]):
    needs = {top: {each for each in needed if each in needs} for top, needed in needs.items()}
    reach = {top: {top} for top in needs}
    for _ in needs:
        reach = {top: found.union(*[reach[each] for each in needs[top]]) for top, found in reach.items()}

    found = list(groups(needs))

    done: set[OpId] = set()
    for group in found:
        assert all({other for other in reach[top] if top in reach[other]} == set(group) for top in group)
        assert all(needs[top] <= done | set(group) for top in group)
        done |= set(group)
    assert sorted(top for group in found for top in group) == sorted(needs)


@pytest.mark.parametrize("seed", seeds(range(40)))
def test_whatever_is_planned_goes_and_nothing_that_could_go_is_left(seed: int):
    rng = random.Random(seed)
    world = World(2)
    typist = Typist(world, rng)
    for _ in range(100):
        typist.edit(rng.choice(world.replicas), "ttssmmiixxxvvu")
        typist.network(rng.choice(world.replicas))
    world.settle()
    document = world.server.document

    for op, count in list(plan_block_purges(document, EVER)):
        assert still_purged_blocks(document, op, EVER) == (op, count)
        before = len(document.blocks)
        purge_blocks(document, op.ids)
        assert before - len(document.blocks) == count

    assert list(plan_block_purges(document, EVER)) == []
