"""One-use tickets in this process's memory: the twin of ``tickets``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from collabkernel.storage.base import TicketRow
from collabkernel.storage.memory_files import clock_ms


class MemoryTickets:
    """Tickets that nobody has spent yet."""

    def __init__(self, now_ms: Callable[[], int] = clock_ms) -> None:
        self._now_ms = now_ms
        self._ticket_by_digest: dict[bytes, tuple[int, TicketRow]] = {}
        """With when it expires."""

    def issue(self, ticket: TicketRow, tickets_max: int) -> int:
        """Keep a ticket; when it expires."""
        now_ms, kept = self._now_ms(), self._ticket_by_digest
        for digest in [digest for digest, (expires_ms, _) in kept.items() if expires_ms <= now_ms]:
            del kept[digest]
        while kept and len(kept) >= tickets_max:
            ((greedy, _),) = Counter([row.actor for _, row in kept.values()]).most_common(1)
            del kept[min([digest for digest in kept if kept[digest][1].actor == greedy], key=lambda of: kept[of][0])]
        kept[ticket.digest] = now_ms + ticket.ttl_ms, ticket
        return now_ms + ticket.ttl_ms

    def spend(self, digest: bytes) -> TicketRow | None:
        """Take a ticket away."""
        expires_ms, ticket = self._ticket_by_digest.pop(digest, (0, None))
        return None if ticket is None else ticket._replace(ttl_ms=expires_ms - self._now_ms())
