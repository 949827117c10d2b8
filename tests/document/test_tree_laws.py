"""Whatever sites do at once, the tree is the oracle's at every one of them, and stays a tree."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.move_tree import Verdict
from collabkernel.limits import BLOCK_DEPTH_MAX
from tests.document.tree_world import World
from tests.examples import examples, seeds


def run(seed: int, sites: int, steps: int, check_every: int, depth_max: int = BLOCK_DEPTH_MAX) -> World:
    """Some steps of a world, healed and checked."""
    rng, world = Random(seed), World(sites, depth_max)
    for step in range(steps):
        world.step(rng)
        if step % check_every == 0:
            world.check_client(rng.randint(1, sites))
    world.heal()
    world.check()
    return world


@pytest.mark.core
@examples(40)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 60))
def test_short_histories(seed: int, sites: int, steps: int):
    run(seed, sites, steps, check_every=7)


@pytest.mark.heavy
def test_longer_histories(monkeypatch: pytest.MonkeyPatch):
    worlds = [run(seed, sites=5, steps=600, check_every=50) for seed in range(4)]
    # Nobody nests a thousand levels in a test.
    monkeypatch.setattr("collabkernel.crdt.tree.node.BLOCK_DEPTH_MAX", 5)
    worlds += [run(seed, sites=5, steps=600, check_every=50, depth_max=5) for seed in range(4)]
    verdicts = {verdict for world in worlds for verdict in world.verdicts.values()}

    assert verdicts == set(Verdict), "the histories are worth their name"


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds(range(20)))
def test_long_histories(seed: int):
    run(1000 + seed, sites=8, steps=4000, check_every=200)
