"""Several servers on one database and one bus, and clients that edit at them, while all of it fails; one seed each.

``COLLABKERNEL_SIMULATION_SEED`` runs one history again, and tells its story.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Iterator

import pytest

from collabkernel.room.keeper import KEEPER_SITE
from collabkernel.server.reader import Reader
from tests.simulation.chronicle import Chronicle
from tests.simulation.cluster import ROOM, Cluster, Size, watched
from tests.simulation.loop import START_S, SimulatedLoop
from tests.simulation.random_world import seeds
from tests.simulation.raw_site import RawSite
from tests.simulation.troubles import Troubles
from tests.simulation.verdict import encoded, folded

OPS = 80
"""Made in a history, about."""
SEEDS = 40


def live_through(seed: str, ops: int = OPS) -> Cluster:
    """Live one history, and check what must hold at its end."""
    chronicle = Chronicle(seed)
    loop = SimulatedLoop(chronicle.rng)
    cluster: list[Cluster] = []

    async def main() -> None:
        world = Cluster(loop, chronicle, Size())
        cluster.append(world)
        troubles = asyncio.create_task(Troubles(world).go_on())
        while world.ops_made < ops:
            assert loop.time() < START_S + 3600, "nothing is made any more"
            await asyncio.sleep(0.5)
        await world.heal()
        await troubles
        await check(world)

    with watched(random.Random(f"{seed}, secrets")):
        loop.run(main())
    return cluster[0]


async def check(cluster: Cluster) -> None:
    """All of it."""
    storage = cluster.database.storage
    rows = [row async for rows in storage.read_ops(ROOM, 0) for row in rows]
    assert rows == cluster.log(), "the log is not what it was"
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    gone = [site.site for site in cluster.dead_sites]
    cluster.ledger.check_log([row for row in rows if row.site != KEEPER_SITE], gone)
    fold = folded(rows)
    expected = encoded(fold.state, fold)
    for site in cluster.sites:
        if isinstance(site, RawSite):
            assert site.refused == site.nonsense, f"nonsense of {site.name} was stored"
        else:
            assert encoded(site.replica.state, fold) == expected, f"{site.name} sees something else than the log"
    loaded, _ = await Reader(storage).load(ROOM)
    assert encoded(loaded.state, fold) == expected, "a snapshot and the log since is not what the log says"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """No log of what fails all the time, and no collector that ends generators when it likes."""
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", seeds(SEEDS))
def test_whatever_fails_all_agree_on_the_log(seed: str) -> None:
    print(f"COLLABKERNEL_SIMULATION_SEED={seed}")
    cluster = live_through(seed)
    print(dict(cluster.chronicle.faults), dict(cluster.chronicle.counts))
