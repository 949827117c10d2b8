"""Eight client replicas and two readers on bad lines, with skewed clocks and a server that crashes: what must hold.

``COLLABKERNEL_SIMULATION_SEED`` runs one history again.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from collabkernel.crdt.ids import KEEPER_SITE
from tests.simulation.random_world import World, seeds
from tests.simulation.verdict import check

OPS = 700
LONG_OPS, LONG_SEEDS = 20_000, 10
"""200,000 operations in all: a history costs more the longer it is, and each of several begins otherwise."""
PROGRESS_OPS = 5_000


class Progress:
    """Says each ``PROGRESS_OPS`` operations how far it is."""

    def __init__(self) -> None:
        self._told = 0

    def __call__(self, made: int) -> None:
        if made >= self._told + PROGRESS_OPS:
            self._told = made
            print(f"{made} operations, {time.process_time():.0f} s of processor time", flush=True)


def live_through(seed: str, ops: int, snapshot_ops: int) -> World:
    print(f"COLLABKERNEL_SIMULATION_SEED={seed}")
    began_s = time.process_time()
    with asyncio.Runner() as loop:
        world = World(seed, loop, snapshot_ops)
        world.live(ops, Progress())
        lived_s = time.process_time() - began_s
        check(world, loop)
    print(
        world.story(),
        f"{lived_s:.0f} s of processor time, and {time.process_time() - began_s - lived_s:.0f} to check",
    )
    return world


@pytest.mark.parametrize("seed", seeds(3))
def test_all_replicas_are_the_log_and_no_block_or_letter_is_lost(seed: str):
    world = live_through(seed, OPS, snapshot_ops=100)

    assert world.server.starts > 1
    assert world.server.outages
    assert world.ops_made >= OPS


def test_what_is_wrong_is_seen():
    with asyncio.Runner() as loop:
        world = World("what is wrong", loop, snapshot_ops=20)
        world.live(150)
        check(world, loop)
        writer, author = world.writers[0], world.authors[0]
        rows = [row for row in world.server.rows() if row.site != KEEPER_SITE]

        with pytest.raises(AssertionError, match=r"lost: \[\("):
            world.ledger.check_log(rows[:-1])
        with pytest.raises(AssertionError, match=r"twice: \[\("):
            world.ledger.check_log([*rows, rows[-1]])
        writer.replica.disconnected()
        author.doc[0].text += "nobody else has this"
        world.ledger.made.pop((writer.replica.site, writer.replica.pending.next_counter - 1))
        with pytest.raises(AssertionError, match="writer 0 sees something else than the log"):
            check(world, loop)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", seeds(LONG_SEEDS))
def test_the_same_of_200_000_operations(seed: str):
    live_through(seed, LONG_OPS, snapshot_ops=500)
