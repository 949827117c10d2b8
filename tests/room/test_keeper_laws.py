"""Random histories in a room with its keeper: all see the same, no letter is hidden, and a replay comes to it too."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collabkernel.crdt.ids import KEEPER_SITE
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_mending import misordered_splits, revived_parts, stranded_parts
from collabkernel.document.operations import BlockDelete, BlockMove, BlockRekey
from tests.document.block_world import BODY, Server, Typist, fold, state
from tests.document.order_share import LIMITS, Kept, is_in_order
from tests.examples import examples, seeds

pytestmark = pytest.mark.core

HASTY = replace(LIMITS, merged_kept_ms=200)
"""Merged blocks that are empty go while most have not seen the merge."""


def history(seed: int, kinds: str) -> tuple[Kept, Typist]:
    rng = random.Random(seed)
    world = Kept(rng.randint(2, 5), HASTY)
    typist = Typist(world, rng)  # type: ignore[arg-type]  # it only keeps it
    for _ in range(rng.randint(5, 60)):
        replica = rng.choice(world.replicas)
        typist.edit(replica, kinds)
        typist.network(replica)
    for _ in range(3):
        world.settle()
    return world, typist


def kept(world: Kept) -> set[type]:
    """The kinds of operations that the keeper has made."""
    return {type(op) for stored in world.server.log if stored.site == KEEPER_SITE for op in stored.envelope.ops}


def shown(world: Kept) -> str:
    document = world.server.document
    return "".join(document.text(block) for block in document.tree.in_order(BODY))


@given(st.integers(0, 10**9))
@examples(8)
def test_all_see_the_same_as_a_replay_of_the_log(seed: int):
    world, _ = history(seed, "ttddssmmixvu")

    replayed = Server()
    for stored in world.server.log:
        fold(replayed.document, stored, {})
    assert state(replayed.document) == state(world.server.document)
    for replica in world.replicas:
        assert state(replica.document) == state(replayed.document)


@given(st.integers(0, 10**9))
@examples(8)
def test_no_letter_is_hidden_or_there_twice(seed: int):
    world, typist = history(seed, "ttddddssmm")

    found = shown(world)
    assert set(found) >= typist.all_letters - typist.deleted
    assert len(set(found)) == len(found)


@given(st.integers(0, 10**9))
@examples(8)
@example(348)
@example(869)
@example(1023)
@example(3199)
@example(495601)
def test_nothing_that_may_be_mended_is_overlooked(seed: int):
    """But for texts whose blocks were merged crosswise: one wants an order, and one another."""
    world, _ = history(seed, "ttssmm")

    document = world.server.document
    assert stranded_parts(document, KEEPER_SITE) == []
    assert revived_parts(document, KEEPER_SITE) == []
    assert not misordered_splits(document, KEEPER_SITE) or not comes_to_rest(document, world.server.driver.head)


def comes_to_rest(document: BlockDocument, head: int) -> bool:
    """Whether new keys for what is out of order leave anything in order."""
    for seq in range(head + 1, head + 11):
        rekeys = misordered_splits(document, KEEPER_SITE)
        if not rekeys:
            return True
        for op in rekeys:
            document.tree.rekey(op.target, op.slot, op.keys, seq=seq, site=KEEPER_SITE, base=seq - 1)
    return False


def test_texts_that_want_different_orders_are_not_changed_for_ever():
    world, _ = history(495601, "ttssmm")

    rekeys = [stored for stored in world.server.log if stored.site == KEEPER_SITE]
    assert 0 < len(rekeys) < 12


@pytest.mark.heavy
def test_the_keeper_does_all_that_it_may_and_stops():
    """The histories above are of no use if nothing is mended in them; and each comes to rest."""
    made: set[type] = set()
    for seed in range(12):
        world, _ = history(seed, "ttddddssmm")
        made |= kept(world)
        count = len(world.server.log)
        world.settle()
        assert len(world.server.log) == count

    assert made == {BlockRekey, BlockMove, BlockDelete}


@pytest.mark.parametrize("seed", seeds(range(10)))
def test_without_merges_all_is_read_in_its_order(seed: int):
    world, _ = history(seed, "tttss")

    assert is_in_order(world.server.document)
