"""Rooms without a log ask nothing of one."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel.limits import Limits
from collabkernel.room.awareness_room import AwarenessRoom
from collabkernel.room.effects import Ban, ReadCatchUp
from collabkernel.server.awareness_kind import AwarenessKind


def test_a_room_is_made_from_nothing_and_needs_nothing():
    async def main() -> None:
        kind = AwarenessKind(Limits(), lambda: 0)

        assert isinstance(await kind.load("lobby", has_peers=False), AwarenessRoom)
        assert kind.farewell("idle", "bye") == b""
        assert kind.event(1, b"x").frame == b"x"
        for asked in (kind.rows_after("lobby", 0), kind.write_snapshot("lobby", 1, 0)):
            with pytest.raises(AssertionError):
                await asked
        with pytest.raises(AssertionError):
            await kind.catch_up("lobby", ReadCatchUp(1, 0, 0, with_snapshot=False))
        with pytest.raises(AssertionError):
            kind.ban("lobby", Ban("eve", "hostile"))

    asyncio.run(main())
