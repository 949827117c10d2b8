"""Documents on several servers under lost, late and doubled messages and torn lines: nothing shown is lost."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from pycrdt import Doc, Text

from collabkernel.crdt.yjs.parse import Reader
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.storage.base import Storage
from tests.bounds import HANG_S
from tests.simulation.document_world import ROOM, FaultyStorage, LossyBus, SimulatedClient, breathe

LIMITS = replace(
    Limits(),
    frames_per_s=10**6,
    joins_burst=10**6,
    ring_bytes=300,
    snapshot_ops=15,
    snapshot_min_interval_ms=0,
    document_bytes_per_s=1 << 30,
    storage_retry_min_ms=0,
    storage_retry_max_ms=0,
)
STEPS = 300
AWAY_STEP = 50
"""Here every history has its database away until a server has noticed: on a busy machine that takes a while."""


class Shared:
    """One storage for several hubs: it closes with the last."""

    def __init__(self, storage: FaultyStorage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)

    async def close(self) -> None:
        """Others go on."""


def hub_on(storage: FaultyStorage, bus: LossyBus) -> Hub:
    shared: Storage = Shared(storage)  # type: ignore[assignment]  # it passes all else on
    return Hub(shared, LIMITS, bus=bus)


class KeptBus(LossyBus):
    """One that a hub's stop does not close for the others."""

    async def close(self) -> None:
        """Others go on."""


async def simulate(seed: int) -> None:
    rng = random.Random(seed)
    storage, bus = FaultyStorage(rng), KeptBus(rng)
    hubs = [hub_on(storage, bus) for _ in range(3)]
    for hub in hubs:
        await hub.start()
    await hubs[0].seed_document(ROOM, _seed(), "ann")
    clients = [SimulatedClient(f"user {n}", 100 + n, rng) for n in range(5)]
    storage.fault_odds, bus.fault_odds = 0.02, 0.3
    for step in range(STEPS):
        if step % 25 == 0:
            storage.is_away = step == AWAY_STEP or rng.random() < 0.2
        await rng.choice(clients).step(hubs)
        await breathe(rng.randrange(5))
        if step % 100 == 99:  # a server is started anew
            await hubs[0].stop()
            hubs[0] = hub_on(storage, bus)
            await hubs[0].start()
    storage.fault_odds = bus.fault_odds = 0.0
    storage.is_away = False
    shown = [client.echoed.get_update() for client in clients]
    await _settle(clients, hubs)
    _check(clients, shown, seed)
    for client in clients:
        await client.cut()
    for hub in hubs:
        await hub.stop()


async def _work_until_noticed(clients: list[SimulatedClient], hubs: list[Hub], rng: random.Random) -> None:
    """Edit while the database is away, until a server says so."""
    async with asyncio.timeout(HANG_S):
        while all(hub.info()["degraded_since_ms"] is None for hub in hubs):
            await rng.choice(clients).step(hubs)
            await asyncio.sleep(0.001)


async def _settle(clients: list[SimulatedClient], hubs: list[Hub]) -> None:
    """Everybody comes back once more, and hears all."""
    for n, client in enumerate(clients):
        await client.cut()
        await client.connect(hubs[n % len(hubs)])
    async with asyncio.timeout(HANG_S):
        while not (
            all(client.is_synced for client in clients)
            and all(_content(c.doc) == _content(clients[0].doc) for c in clients)
        ):
            for n, client in enumerate(clients):
                if client.line is None:
                    await client.connect(hubs[n % len(hubs)])
                await client.take()
            await asyncio.sleep(0.001)


def _seed() -> bytes:
    doc: Doc[Text] = Doc(client_id=0)
    source = doc.get("source", type=Text)
    source += "seed "
    return doc.get_update()


def _content(doc: Doc[Text]) -> tuple[dict[int, int], str]:
    """The clocks and the text; the bytes of a state also tell how yrs happened to cut its blocks."""
    vector = Reader(doc.get_state())
    clocks = {vector.uint("a client"): vector.uint("a clock") for _ in range(vector.uint("how many"))}
    return clocks, str(doc.get("source", type=Text))


def _check(clients: list[SimulatedClient], shown: list[bytes], seed: int) -> None:
    first = _content(clients[0].doc)
    assert all(_content(client.doc) == first for client in clients), f"seed {seed}: replicas differ"
    for update in shown:
        doc: Doc[Text] = Doc()
        doc.apply_update(clients[0].doc.get_update())
        doc.apply_update(update)
        assert _content(doc) == first, f"seed {seed}: something that was shown is gone"


@pytest.mark.parametrize("seed", range(6))
def test_nothing_that_was_shown_is_lost_and_all_replicas_are_equal(seed: int):
    asyncio.run(simulate(seed))
