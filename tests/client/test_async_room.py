"""The asyncio face."""

from __future__ import annotations

import pytest

from collabkernel import aio
from collabkernel.errors import InvalidValueError

pytestmark = pytest.mark.anyio


async def test_leaving_saves_the_last_edits():
    async with aio.connect("left", url="memory://") as room:
        room.list("l").append(1)
    assert room.status == "closed"
    await room.close()

    async with aio.connect("left", url="memory://") as room:
        assert room.to_json() == {"l": [1]}


async def test_a_memory_room_has_no_ticket():
    async with aio.connect("ticketless", url="memory://") as room:
        with pytest.raises(InvalidValueError, match="relay"):
            await room.browser_ticket()


async def test_a_browser_gets_a_ticket(jupyter):
    async with aio.connect("tickets", url=jupyter.base_url, token=jupyter.kernel_token) as room:
        assert set(await room.browser_ticket()) == {"url", "ticket"}


async def test_a_room_is_looked_at_as_it_was():
    async with aio.connect("async-as-it-was", url="memory://") as room:
        room.root.a = 1
        await room.flush()
        seq = room.seq
        room.root.a = 2
        await room.flush()
        assert (await room.at(seq)).to_json() == {"a": 1}
        assert (await room.at(room.seq)).to_json() == {"a": 2}
