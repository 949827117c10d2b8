"""The asyncio face."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel import aio
from collabkernel.errors import InvalidValueError, LocalProtocolError

pytestmark = pytest.mark.anyio


async def test_leaving_saves_the_last_edits():
    async with aio.connect("left", url="memory://") as room:
        room.list("l").append(1)
    assert room.status == "closed"
    await room.close()

    async with aio.connect("left", url="memory://") as room:
        assert room.to_json() == {"l": [1]}


async def test_waiting_in_a_batch_is_refused_and_beside_one_it_waits():
    async with aio.connect("batch-flush", url="memory://") as room:
        room.root.a = 1
        with room.batch():
            room.root.a = 2
            beside = asyncio.create_task(room.flush())
            await asyncio.sleep(0)
            with pytest.raises(LocalProtocolError, match="wait after it"):
                await room.flush()
            with pytest.raises(LocalProtocolError, match="wait after it"):
                await room.wait_in_sight(1)
        await beside
        await room.flush()
        assert room.sync_status == "buffered"


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
