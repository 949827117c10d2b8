"""The keeper's right to write: of the servers that share a database, one at a time keeps a room's documents.

Who keeps a room is told by a lease in the database, and what he may store by the epoch of the room's site
``KEEPER_SITE``: whoever takes the lease raises it, and every append checks it in its transaction. So a server that was
cut off, and believes in a lease that has expired, stores nothing more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from collabkernel.crdt.ids import KEEPER_SITE
from collabkernel.errors import ClosedError, StorageError
from collabkernel.limits import Limits
from collabkernel.room.events import Keeping
from collabkernel.room.keeper import KEEPER_ACTOR
from collabkernel.storage.base import Lease, Storage
from collabkernel.wire.messages import SessionKind

log = logging.getLogger(__name__)

NO_SECRET = bytes(32)
"""What the hash of the site's resume secret would be: no secret has it."""


class KeeperLeases:
    """Of one server."""

    def __init__(self, storage: Storage, holder: str, limits: Limits, now_ms: Callable[[], int]) -> None:
        """Hold none yet.

        Args:
            storage: The database.
            holder: Tells this server from all others.
            limits: What is allowed.
            now_ms: This server's clock.
        """
        self._storage = storage
        self._holder = holder
        self._limits = limits
        self._now_ms = now_ms

    async def take(self, room_id: str) -> Keeping | None:
        """Be the keeper of a room; None while another server is.

        Raises:
            StorageError: The database does not answer.
        """
        storage, ttl_ms, now_ms = self._storage, self._limits.keeper_lease_ms, self._now_ms()
        lease = await storage.acquire_lease(_name(room_id), self._holder, ttl_ms)
        if lease is None:
            return None
        await storage.new_site(room_id, KEEPER_SITE, KEEPER_ACTOR, int(SessionKind.SCRIPT), NO_SECRET, now_ms)
        row = await storage.site(room_id, KEEPER_SITE)
        if row is None or row.secret_hash != NO_SECRET:
            # A session was given this number before it was the keeper's, with odds of one in four thousand million.
            log.warning("Room %s has no keeper: its site is somebody else's", room_id)
            return None
        row = await storage.resume_site(room_id, KEEPER_SITE, now_ms)
        head = await storage.head(room_id)  # behind all that whoever kept it before could store
        if row is None or head is None:
            return None
        return Keeping(lease.token, row.epoch, row.last_counter + 1, head.seq, now_ms + ttl_ms)

    async def release(self, room_id: str, keeping: Keeping) -> None:
        """Let other servers keep a room that is no longer loaded here."""
        try:
            await self._storage.release_lease(Lease(_name(room_id), self._holder, keeping.token, 0))
        except (StorageError, ClosedError):
            log.exception("The lease of room %s was not given back; it expires by itself", room_id)


def _name(room_id: str) -> str:
    return f"keeper:{room_id}"
