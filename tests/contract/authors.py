"""Writes envelopes for the storage contract, as a site of a room does."""

from __future__ import annotations

from dataclasses import dataclass

from collabkernel.storage.base import Appended, AppendRequest, OpRow, Storage

NOW_MS = 1_763_000_000_000
HLC = NOW_MS << 16
SECRET_HASH = bytes(range(32))


@dataclass
class Author:
    """One site of one room; ``next`` makes its next envelope, whether the last one was stored or not."""

    room_id: str
    site: int
    epoch: int = 1
    counter: int = 0
    actor: str = "ann"

    def next(self, ops_count: int = 1, base: int = 0, hlc: int = HLC) -> AppendRequest:
        """The envelope after the last one; each operation's payload tells who and which it is."""
        request = self.at(self.counter + 1, ops_count, base, hlc)
        self.counter += ops_count
        return request

    def at(self, counter: int, ops_count: int = 1, base: int = 0, hlc: int = HLC) -> AppendRequest:
        """An envelope with any first counter."""
        ops = tuple((1 + i % 7, f"{self.site}:{counter + i}".encode()) for i in range(ops_count))
        return AppendRequest(self.room_id, self.site, self.epoch, counter, base, hlc, self.actor, ops)


async def enter(storage: Storage, room_id: str = "plan", site: int = 7, actor: str = "ann") -> Author:
    """A new site in a room, which is made when it does not exist."""
    await storage.create_room(room_id, NOW_MS)
    assert await storage.new_site(room_id, site, actor, 1, SECRET_HASH, NOW_MS)
    return Author(room_id, site, actor=actor)


async def whole_log(storage: Storage, room_id: str = "plan") -> list[OpRow]:
    """Every operation of a room."""
    return [row async for rows in storage.read_ops(room_id, 0) for row in rows]


def rows_of(request: AppendRequest, answer: object) -> list[OpRow]:
    """The rows that an envelope must have in the log, by its answer."""
    assert isinstance(answer, Appended), answer
    return [
        OpRow(
            answer.seq + i,
            request.site,
            request.counter + i,
            request.counter,
            request.base,
            request.hlc + i,
            request.actor,
            kind,
            payload,
        )
        for i, (kind, payload) in enumerate(request.ops)
    ]
