"""Whatever fails and whoever is cut off: what was acknowledged is in the log once, and everybody sees the same.

``COLLABKERNEL_SIMULATION_SEED`` runs one history again.
"""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from collabkernel.errors import DegradedError
from collabkernel.server.hub import Hub
from collabkernel.server.reader import Reader
from collabkernel.storage.base import OpRow
from tests.bounds import HANG_S
from tests.server.raw import enter, join
from tests.simulation.hub_world import LIMITS, ROOM, Author, FaultyStorage

AUTHORS = 4
STEPS = 250
TURNS = 8
"""Of the loop between two steps, below this: an append takes about ten."""
AWAY_STEP = 100
"""From here on every history has its database away for a while, and somebody finds out."""
SEEDS = [os.environ["COLLABKERNEL_SIMULATION_SEED"]] if "COLLABKERNEL_SIMULATION_SEED" in os.environ else range(12)


async def live_through(seed: str) -> None:
    rng = random.Random(seed)
    storage = FaultyStorage(rng)
    hub = Hub(storage, LIMITS)
    await hub.start()
    authors = [Author(hub, f"author-{n}", random.Random(f"{seed}:{n}")) for n in range(AUTHORS)]
    was_degraded = False
    for step in range(STEPS):
        if step % 25 == 0:
            storage.fault_odds = rng.choice((0.0, 0.0, 0.05))
            storage.is_away = step == AWAY_STEP or rng.random() < 0.2
        if step == AWAY_STEP:
            with pytest.raises(DegradedError):
                await enter(hub, "elsewhere")
        await rng.choice(authors).step()
        for _ in range(rng.randrange(TURNS)):  # otherwise the hub has hardly a turn in between
            await asyncio.sleep(0)
        was_degraded = was_degraded or hub.info()["degraded_since_ms"] is not None
    storage.fault_odds, storage.is_away = 0.0, False
    async with asyncio.timeout(HANG_S):
        await asyncio.gather(*[author.settle() for author in authors])
        reader = await join(hub, ROOM, "reader")
        head = reader.through
        for author in authors:
            while author.through < head:
                await asyncio.sleep(0)
                author.take()
    log = [row async for rows in storage.read_ops(ROOM, 0) for row in rows]
    fold, _ = await Reader(storage).load(ROOM)
    check(authors, log)
    for author in authors:
        assert author.tree.to_json() == fold.state.tree.to_json(), f"{author.name} sees something else than the log"
    assert not fold.skipped
    assert was_degraded, "nobody noticed that the database was away"
    await hub.stop()


def check(authors: list[Author], log: list[OpRow]) -> None:
    ids = [(row.site, row.counter) for row in log]
    assert len(ids) == len(set(ids)), "an operation is in the log twice"
    assert [row.seq for row in log] == list(range(1, len(log) + 1))
    seq_by_id = dict(zip(ids, [row.seq for row in log], strict=True))
    for author in authors:
        byes = {client.bye for client in author.sockets}
        assert not byes & {"fenced", "room-failed", "bad-resume"}, f"{author.name} was sent away with {byes}"
        assert not author.refused & author.seq_by_acked.keys(), "both acknowledged and refused"
        assert author.refused | author.seq_by_acked.keys() >= author.made.keys()
        for counter, seq in author.seq_by_acked.items():
            for i in range(len(author.made[counter].ops)):
                assert seq_by_id.get((author.site, counter + i)) == seq + i, f"{author.name} lost {counter + i}"
        for counter in author.refused:
            assert (author.site, counter) not in seq_by_id, f"{counter} of {author.name} was refused and stored"


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost_or_doubled_whatever_fails(seed: object) -> None:
    print(f"COLLABKERNEL_SIMULATION_SEED={seed}")
    asyncio.run(live_through(str(seed)))
