"""Who listens to a bus, and the heads of logs that it looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.bounds import HANG_S


class Heads:
    """The heads of logs, as a storage tells them."""

    def __init__(self) -> None:
        self.head_by_room: dict[str, int] = {}
        self.looks = 0

    async def heads(self, room_ids: Sequence[str]) -> dict[str, int]:
        self.looks += 1
        return {room_id: self.head_by_room[room_id] for room_id in room_ids if room_id in self.head_by_room}

    async def change_mark(self) -> int:
        return sum(self.head_by_room.values())


class Reader:
    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes | None] = asyncio.Queue()

    def take(self, message: bytes | None = None) -> None:
        self.got.put_nowait(message)

    async def next(self) -> bytes | None:
        return await asyncio.wait_for(self.got.get(), HANG_S)
