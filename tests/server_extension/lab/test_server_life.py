"""A server is alive while it says so, and dead when it has stopped, or was killed a while ago."""

from __future__ import annotations

import asyncio

from collabkernel_server.lab.server_life import ServerLife, is_dead

from collabkernel.server.hub import Hub
from collabkernel.storage.base import Lease
from collabkernel.storage.memory import MemoryStorage
from tests.bounds import HANG_S

HOUR_MS = 3_600_000


def test_a_server_is_alive_from_its_first_sign_to_its_stop() -> None:
    async def test() -> None:
        storage = MemoryStorage()
        hub = Hub(storage)

        async def running_hub() -> Hub:
            return hub

        await hub.start()
        life = ServerLife(running_hub, HOUR_MS)
        assert await is_dead(storage, life.id)
        await asyncio.gather(life.show(), life.show())
        assert not await is_dead(storage, life.id)
        assert not await is_dead(storage, life.id), "who asks takes nothing away"
        await life.stop()
        await life.stop()
        assert await is_dead(storage, life.id)
        await hub.stop()

    asyncio.run(test())


class LosingStorage(MemoryStorage):
    """Loses each lease that is to be renewed, and tells when one was taken anew."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0
        self.was_taken_anew = asyncio.Event()

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        self.taken += 1
        if self.taken == 2:
            self.was_taken_anew.set()
        return await super().acquire_lease(name, holder, ttl_ms)

    async def renew_lease(self, lease: Lease, ttl_ms: int) -> Lease | None:  # noqa: ARG002  # the protocol's
        await self.release_lease(lease)
        return None


def test_a_lost_lease_is_taken_anew() -> None:
    async def test() -> None:
        storage = LosingStorage()
        hub = Hub(storage)

        async def running_hub() -> Hub:
            return hub

        await hub.start()
        life = ServerLife(running_hub, HOUR_MS, renew_ms=1)
        await life.show()
        async with asyncio.timeout(HANG_S):
            await storage.was_taken_anew.wait()
        assert not await is_dead(storage, life.id)
        await life.stop()
        await hub.stop()

    asyncio.run(test())


def test_a_killed_server_is_dead_when_its_lease_has_expired() -> None:
    async def test() -> None:
        storage = MemoryStorage()
        hub = Hub(storage)

        async def running_hub() -> Hub:
            return hub

        await hub.start()
        killed = ServerLife(running_hub, lease_ms=0, renew_ms=HOUR_MS)
        await killed.show()
        assert await is_dead(storage, killed.id)
        await killed.stop()
        await hub.stop()

    asyncio.run(test())
