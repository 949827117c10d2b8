"""A lease that is held for as long as some work takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from collabkernel.errors import StorageError
from collabkernel.storage.base import Lease, Storage

log = logging.getLogger(__name__)


@asynccontextmanager
async def held(storage: Storage, name: str, holder: str, ttl_ms: int) -> AsyncIterator[Lease | None]:
    """Hold a lease as long as the block lasts, renewed three times in ``ttl_ms``; None while somebody else does.

    Raises:
        StorageError: The database does not answer.
    """
    lease = await storage.acquire_lease(name, holder, ttl_ms)
    if lease is None:
        yield None
        return
    renewing = asyncio.create_task(_renew(storage, lease, ttl_ms), name=f"{name} lease")
    try:
        yield lease
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])
        with suppress(StorageError):  # it expires by itself
            await storage.release_lease(lease)


async def _renew(storage: Storage, lease: Lease, ttl_ms: int) -> None:
    while True:
        await asyncio.sleep(ttl_ms / 3000)
        try:
            await storage.renew_lease(lease, ttl_ms)  # if it is lost, the next write says so
        except StorageError as error:
            log.warning("The lease %r could not be renewed: %s", lease.name, error)
