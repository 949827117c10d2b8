"""One Redis server behind the bus: it stands still, loses messages, and is left in the middle of a round trip."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel.bus import redis_link
from collabkernel.bus.outbox import MESSAGE_BYTES_MAX
from collabkernel.bus.redis import RedisBus
from tests.bounds import HANG_S
from tests.bus.readers import Heads, Reader
from tests.bus.valkey import Valkey, connected

pytestmark = pytest.mark.anyio


async def test_a_redis_that_stands_still_is_given_up(
    valkey: Valkey, buses: list[RedisBus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "ANSWER_S", 0.2)
    buses[0].publish("plan", b"a read that is under way ends with this")
    reader = Reader()
    await buses[1].subscribe("plan", reader.take, reader.take)
    valkey.pause()
    assert await reader.next() is None
    await connected(buses[1], False)
    valkey.pause(False)
    await connected(buses[1])


async def test_a_bus_that_is_closed_while_it_publishes_ends(valkey: Valkey, heads: Heads) -> None:
    for turns in range(10):  # each at another line of what a round trip does
        bus = RedisBus(valkey.url, heads)
        await bus.open()
        await connected(bus)
        bus.publish("plan", b"a")
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(bus.close(), HANG_S)


async def test_a_large_message_comes_as_a_gap(buses: list[RedisBus]) -> None:
    reader = Reader()
    await buses[1].subscribe("plan", reader.take, reader.take)
    buses[0].publish("plan", bytes(MESSAGE_BYTES_MAX + 1))
    assert await reader.next() is None
    buses[0].publish("plan", b"after")
    assert await reader.next() == b"after"
