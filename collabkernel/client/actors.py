"""Who writes as which site, as far as the server has told: by its log, by presence, or when asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from collabkernel.client.replica import Replica
from collabkernel.crdt.ids import OpId
from collabkernel.wire.messages import ServerMessage


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made an operation, and when."""

    seq: int
    time_ms: int
    """Of its author's clock, milliseconds since the Unix epoch."""
    actor: str


@dataclass(frozen=True, slots=True)
class Authors:
    """What a server tells of operations and sites; those that it does not know are left out."""

    origin_by_op: dict[OpId, Origin]
    actor_by_site: dict[int, str]


PIECE = 1000
"""Operations, and as many sites, that a server is asked for at once: some 50 kB of an answer."""


async def ask_in_pieces(
    ask: Callable[[Sequence[OpId], Sequence[int]], Awaitable[Authors]], ops: Sequence[OpId], sites: Sequence[int]
) -> Authors:
    """Ask for however many, a piece after the other."""
    found = Authors({}, {})
    for at in range(0, max(len(ops), len(sites)), PIECE):
        piece = await ask(ops[at : at + PIECE], sites[at : at + PIECE])
        found.origin_by_op.update(piece.origin_by_op)
        found.actor_by_site.update(piece.actor_by_site)
    return found


class Actors:
    """The user names of sites. A site belongs to one user for ever."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._actor_by_site: dict[int, str] = {}

    def note(self, message: ServerMessage) -> None:
        """Take what a message of the server tells."""
        for stored in message.ops:
            self._actor_by_site[stored.site] = stored.actor
        for entry in message.presence:
            self._actor_by_site[entry.site] = entry.actor

    def learn(self, actor_by_site: dict[int, str]) -> None:
        """Take what the server answered."""
        self._actor_by_site |= actor_by_site

    def of(self, site: int) -> str | None:
        """The user name; None while it is not known here."""
        return self._replica.actor if site == self._replica.site else self._actor_by_site.get(site)

    def missing(self, sites: Iterable[int]) -> list[int]:
        """Those that are not known here, each once."""
        return [site for site in dict.fromkeys(sites) if self.of(site) is None]
