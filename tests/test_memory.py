"""The hub inside this process."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel import aio
from collabkernel.client.transport import LinkError
from collabkernel.errors import InvalidValueError
from collabkernel.limits import Limits
from collabkernel.memory import MemoryConnector, memory_server
from collabkernel.wire.codec import decode_server_message, encode_client_message
from collabkernel.wire.messages import Hello, SessionKind

pytestmark = pytest.mark.anyio


async def test_rooms_are_shared_by_name_in_a_process():
    async with aio.connect("shared", url="memory://") as ann, aio.connect("other", url="memory://") as bob:
        ann.root.a = 1
        await ann.flush()
        assert bob.to_json() == {}
        async with aio.connect("shared", url="memory://elsewhere") as cem:
            assert cem.to_json() == {"a": 1}
    assert memory_server() is memory_server()


async def test_a_line_ends_when_it_is_closed():
    link = await MemoryConnector("line", "ann").open()
    await link.send(encode_client_message(Hello(SessionKind.SCRIPT, "x")))
    assert decode_server_message(await link.receive(), Limits()).welcome is not None

    await link.close()
    await link.close()


async def test_a_deleted_room_says_goodbye():
    link = await MemoryConnector("deleted", "ann").open()
    await link.send(encode_client_message(Hello(SessionKind.SCRIPT, "x")))
    await link.receive()
    server = memory_server()
    deleting = asyncio.run_coroutine_threadsafe(server.hub.delete_room("deleted"), server.thread.loop)
    await asyncio.wrap_future(deleting)

    with pytest.raises(LinkError, match="room-deleted"):  # noqa: PT012  # which frame is the last is not known
        while True:
            await link.receive()
    with pytest.raises(LinkError):
        await link.receive()


async def test_there_are_no_tickets():
    with pytest.raises(InvalidValueError):
        await MemoryConnector("x", "ann").ticket()
