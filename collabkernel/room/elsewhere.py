"""What sessions at other servers show here, and what those servers are to be told of the sessions here.

Nothing of it is stored, and a message may be lost. So a server tells all that its own sessions show again and again,
what was not told for some time is gone, and a room that has just been loaded asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from collabkernel.room.effects import PublishEphemeral
from collabkernel.wire.frames import presence_part
from collabkernel.wire.messages import PresenceEntry

RENEW_MS = 15_000
"""Own sessions are told again so often."""
GONE_MS = 40_000
"""A session at another server that was not told of for so long is gone: two renewals, and some."""
MESSAGE_BYTES = 64 << 10
"""About how much one message tells; the rest goes with the next tick. A bus carries a megabyte."""
ENTRY_BYTES = 64
"""What an entry takes beside its state, about."""


class Elsewhere:
    """The presence of one room at other servers. A site is at one server at a time: of one here they tell nothing."""

    __slots__ = ("_asks", "_guests", "_own", "_renew_at_ms", "_untold")

    def __init__(self) -> None:
        self._own: dict[int, PresenceEntry] = {}
        """By site."""
        self._untold: dict[int, PresenceEntry] = {}
        """What changed of them, or is told again."""
        self._guests: dict[int, tuple[PresenceEntry, bytes, int]] = {}
        """By site: what it shows, its server, and when that told of it."""
        self._asks = True
        self._renew_at_ms = 0

    def show(self, entry: PresenceEntry) -> None:
        """A session here shows this, or left."""
        if entry.left:
            self._own.pop(entry.site, None)
        else:
            self._own[entry.site] = entry
            self._guests.pop(entry.site, None)
        self._untold[entry.site] = entry

    def hear(
        self, origin: bytes, entries: Iterable[PresenceEntry], is_asking: bool, now_ms: int
    ) -> list[PresenceEntry]:
        """Take what another server tells; return what is new of it."""
        if is_asking:
            self._untold |= self._own
        news = []
        for entry in entries:
            known = self._guests.get(entry.site)
            if entry.site in self._own or (entry.left and (known is None or known[1] != origin)):
                continue
            if entry.left:
                del self._guests[entry.site]
            else:
                self._guests[entry.site] = (entry, origin, now_ms)
            if known is None or known[0] != entry:
                news.append(entry)
        return news

    def due_ms(self) -> int | None:
        """When to ``tell`` and ``forget`` even if nothing happens; None when nobody is here."""
        return self._renew_at_ms if self._own else None

    def has_news(self) -> bool:
        """Whether there is something to ``tell`` at the next tick."""
        return bool(self._untold)

    def tell(self, now_ms: int) -> list[PublishEphemeral]:
        """What other servers are told now."""
        if self._own and now_ms >= self._renew_at_ms:
            self._untold = self._own | self._untold
            self._renew_at_ms = now_ms + RENEW_MS
        told: list[PresenceEntry] = []
        size_bytes = 0
        while self._untold and size_bytes < MESSAGE_BYTES:
            told.append(self._untold.pop(next(iter(self._untold))))
            size_bytes += len(told[-1].state_json) + ENTRY_BYTES
        is_asking, self._asks = self._asks, False
        return [PublishEphemeral(presence_part(told), is_asking)] if told or is_asking else []

    def forget(self, now_ms: int) -> list[PresenceEntry]:
        """That those left of whom nothing was heard."""
        gone = [entry for entry, _, at_ms in self._guests.values() if at_ms + GONE_MS <= now_ms]
        for entry in gone:
            del self._guests[entry.site]
        return [replace(entry, state_json="", left=True) for entry in gone]
