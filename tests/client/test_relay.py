"""A second raw line through this process."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel import aio
from collabkernel.client.relay import Relay
from collabkernel.client.transport import Link, LinkError
from collabkernel.limits import Limits
from collabkernel.memory import MemoryConnector
from collabkernel.wire.codec import decode_server_message, encode_client_message
from collabkernel.wire.messages import Hello, ServerMessage, SessionKind

pytestmark = pytest.mark.anyio


async def test_a_browser_joins_through_the_relay():
    async with aio.connect("relayed", url="memory://") as room:
        room.root.a = 1
        await room.flush()
        frames: asyncio.Queue[ServerMessage] = asyncio.Queue()
        reasons: list[str] = []
        relay = room.open_relay(lambda f: frames.put_nowait(decode_server_message(f, Limits())), reasons.append)

        relay.send(encode_client_message(Hello(SessionKind.PERSON, "browser")))
        welcome = (await frames.get()).welcome
        assert welcome is not None
        assert welcome.site != room.site
        while (await frames.get()).snapshot is None:
            pass
        relay.close()
        await relay.wait_closed()
        assert reasons == ["closed"]


async def test_leaving_the_room_closes_its_relays():
    reasons: list[str] = []
    async with aio.connect("relayed-2", url="memory://") as room:
        room.open_relay(lambda _: None, reasons.append)

    assert reasons == ["closed"]


class DeadConnector(MemoryConnector):
    """No line opens."""

    async def open(self) -> Link:
        raise LinkError("no line")


async def test_the_reason_is_told():
    reasons: list[str] = []
    relay = Relay(DeadConnector("x", "x"), lambda _: None, reasons.append)
    relay.start()
    await relay.wait_closed()

    assert reasons == ["no line"]


async def test_a_browser_that_sends_too_fast_is_cut_off():
    reasons: list[str] = []
    relay = Relay(MemoryConnector("x", "x"), lambda _: None, reasons.append)
    relay.start()
    for _ in range(2000):
        relay.send(b"x")
    await relay.wait_closed()

    assert reasons[0].startswith("slow-consumer")
