"""One-use tickets of a server: it asks its database for them, a few at a time.

Who spends one has no login yet: strangers may come with as many made-up ones as they like, and must not take the
database from the rooms.
"""

from __future__ import annotations

import asyncio

from collabkernel.errors import TooManyError
from collabkernel.limits import Limits
from collabkernel.server.outage import Outage
from collabkernel.storage.base import Storage, TicketRow

AT_ONCE = 4
"""Of the connections to the database these are for tickets, each of which takes it a millisecond or two."""
WAITING_MAX = 2000
"""Two servers' sessions that come back at once; who stands behind them would wait for over a second."""
RETRY_MS = 1000
"""By then those who waited have gone in."""


class Tickets:
    """Issues and spends them."""

    def __init__(self, storage: Storage, outage: Outage, limits: Limits) -> None:
        self._storage = storage
        self._outage = outage
        self._limits = limits
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def issue(self, ticket: TicketRow) -> int:
        """Keep a ticket until it is spent or expires; when that is, milliseconds since the Unix epoch.

        Raises:
            DegradedError: The database does not answer.
            StorageError: It refuses, for good.
        """
        self._outage.check()
        with self._outage.noticed():
            return await self._storage.issue_ticket(ticket, self._limits.tickets_outstanding)

    async def spend(self, digest: bytes) -> TicketRow | None:
        """Take a ticket away; None when there is none.

        Raises:
            TooManyError: Too many wait for this.
            DegradedError: The database does not answer. Whether the ticket is spent is not known.
            StorageError: It refuses, for good.
        """
        if self._waiting >= WAITING_MAX:
            raise TooManyError("tickets that are being spent", WAITING_MAX, RETRY_MS)
        self._waiting += 1
        try:
            async with self._turn:
                self._outage.check()
                with self._outage.noticed():
                    return await self._storage.spend_ticket(digest)
        finally:
            self._waiting -= 1
