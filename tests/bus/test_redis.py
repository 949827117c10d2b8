"""The bus over a real Valkey that is killed, comes back, or stops answering; every bus's promises are in contract/."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel.bus import make_bus
from collabkernel.bus.base import OpsStoredMessage
from collabkernel.bus.redis import RedisBus
from collabkernel.errors import StorageError
from tests.bounds import HANG_S
from tests.bus.readers import Heads, Reader
from tests.bus.valkey import Valkey, connected

pytestmark = pytest.mark.anyio


async def test_servers_of_another_prefix_hear_nothing(valkey: Valkey, buses: list[RedisBus], heads: Heads) -> None:
    other = RedisBus(valkey.url, heads, prefix="other")
    await other.open()
    await connected(other)
    ours, theirs = Reader(), Reader()
    await buses[1].subscribe("plan", ours.take, ours.take)
    await other.subscribe("plan", theirs.take, theirs.take)

    other.publish("plan", b"theirs")
    buses[0].publish("plan", b"ours")

    assert await ours.next() == b"ours"
    assert await theirs.next() == b"theirs"
    await other.close()


async def test_without_redis_the_log_is_looked_at_and_with_it_messages_come_again(
    valkey: Valkey, buses: list[RedisBus], heads: Heads
) -> None:
    heads.head_by_room["plan"] = 1
    reader = Reader()
    await buses[1].subscribe("plan", reader.take, reader.take)

    valkey.kill()
    assert await reader.next() is None, "what was on its way"
    await connected(buses[1], False)
    heads.head_by_room["plan"] = 2
    assert await reader.next() is None, "the log has grown"
    late = Reader()
    await buses[1].subscribe("notes", late.take, late.take)
    buses[0].publish("plan", b"lost, or late")

    valkey.start()
    for bus in buses:
        await connected(bus)
    while await reader.next() != b"over Redis":  # what may have been missed comes as a gap, or late
        buses[0].publish("plan", b"over Redis")
    buses[0].publish("notes", b"late")
    while await late.next() != b"late":  # who came meanwhile is subscribed too
        pass


async def test_what_came_over_redis_is_not_told_again_by_the_log(buses: list[RedisBus], heads: Heads) -> None:
    heads.head_by_room["plan"] = 1
    reader = Reader()
    await buses[1].subscribe("plan", reader.take, reader.take)
    message = OpsStoredMessage(bytes(16), 2, 2, b"ops").encode()
    buses[0].publish("plan", message)
    assert await reader.next() == message
    heads.head_by_room["plan"] = 2
    heads.looks = 0
    buses[1].publish("other", b"")
    async with asyncio.timeout(HANG_S):
        while not heads.looks:  # noqa: ASYNC110  # a look has no event
            await asyncio.sleep(0.01)
    assert reader.got.empty()


async def test_what_is_no_url_of_redis_is_said(heads: Heads) -> None:
    for url in ("http://localhost", "redis://localhost:port"):
        with pytest.raises(StorageError, match="URL of Redis"):
            make_bus(heads, redis_url=url)
    assert make_bus(heads, poll_ms=0) is None


async def test_a_bus_opens_and_closes_without_any_redis(valkey: Valkey, heads: Heads) -> None:
    valkey.kill()
    bus = RedisBus(valkey.url, heads, poll_ms=20)
    await bus.open()
    reader = Reader()
    await bus.subscribe("plan", reader.take, reader.take)
    heads.head_by_room["plan"] = 1
    assert await reader.next() is None
    assert not bus.is_connected
    await bus.close()
