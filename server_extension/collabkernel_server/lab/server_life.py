"""Whether a server still runs cells: it holds a lease from its first one on, and a killed one holds none before long.

The database's clock says when a lease expires, so servers on several machines need not agree on the time.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable

from collabkernel.errors import CollabKernelError
from collabkernel.server.hub import Hub
from collabkernel.storage.base import Lease, Leases

log = logging.getLogger(__name__)
LEASE_MS = 30_000
"""A server is taken for dead after this. One whose database was away for longer begins a new lease."""
RENEW_MS = 10_000
_ASKS = "who asks"


class ServerLife:
    """This server's sign of life, under an id that no other start of it has."""

    def __init__(self, hub: Callable[[], Awaitable[Hub]], lease_ms: int = LEASE_MS, renew_ms: int = RENEW_MS) -> None:
        self.id = uuid.uuid4().hex
        self._hub = hub
        self._lease_ms = lease_ms
        self._renew_ms = renew_ms
        self._lease: Lease | None = None
        self._starting = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None

    async def show(self) -> None:
        """Be known to be alive from now on.

        Raises:
            StorageError: The database does not answer.
        """
        async with self._starting:
            if self._renewing is None:
                self._lease = await self._taken()
                self._renewing = asyncio.create_task(self._renew(), name="a server's sign of life")

    async def stop(self) -> None:
        """Be known to be gone."""
        if self._renewing is None:
            return
        self._renewing.cancel()
        await asyncio.wait([self._renewing])
        self._renewing = None
        try:
            if self._lease is not None:
                await (await self._hub()).storage.release_lease(self._lease)
        except CollabKernelError as error:
            log.warning("this server is taken for alive for a while: %s", error)

    async def _taken(self) -> Lease | None:
        return await (await self._hub()).storage.acquire_lease(_name(self.id), self.id, self._lease_ms)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._renew_ms / 1000)
            try:
                if self._lease is not None:
                    self._lease = await (await self._hub()).storage.renew_lease(self._lease, self._lease_ms)
                if self._lease is None:
                    self._lease = await self._taken()
            except CollabKernelError as error:
                log.warning("this server's sign of life cannot be renewed: %s", error)


async def is_dead(leases: Leases, server_id: str) -> bool:
    """Whether no server of that id shows itself.

    Raises:
        StorageError: The database does not answer.
    """
    lease = await leases.acquire_lease(_name(server_id), _ASKS, 1)
    if lease is None:
        return False
    await leases.release_lease(lease)
    return True


def _name(server_id: str) -> str:
    return f"server:{server_id}"
