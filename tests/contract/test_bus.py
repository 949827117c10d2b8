"""The bus contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from collabkernel.bus.base import Bus
from collabkernel.bus.memory import MemoryBus
from collabkernel.bus.redis import RedisBus
from collabkernel.errors import ClosedError
from collabkernel.storage.memory import MemoryStorage
from tests.bounds import HANG_S
from tests.bus.valkey import connected

pytestmark = pytest.mark.anyio


class Reader:
    """A subscriber that remembers; waits by events, not by time."""

    def __init__(self) -> None:
        self.got: list[bytes | None] = []
        """Messages, and None for a gap."""
        self._changed = asyncio.Event()

    def take(self, message: bytes | None = None) -> None:
        self.got.append(message)
        self._changed.set()

    async def until(self, last: bytes | None) -> list[bytes | None]:
        while not self.got or self.got[-1] != last:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), HANG_S)
        return self.got


@pytest.fixture(params=["memory", "redis", "cluster"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    bus: Bus = MemoryBus()
    if request.param != "memory":
        url: str = request.getfixturevalue("valkey" if request.param == "redis" else "valkey_cluster").url
        log = MemoryStorage()
        await log.open()
        bus = RedisBus(url, log, prefix=request.node.name)
    await bus.open()
    if isinstance(bus, RedisBus):
        await connected(bus)
    yield bus
    await bus.close()


async def test_every_subscriber_of_the_room_gets_every_message_in_order(bus: Bus):
    ann, bob, other = Reader(), Reader(), Reader()
    for reader, room_id in ((ann, "plan"), (bob, "plan"), (other, "notes")):
        await bus.subscribe(room_id, reader.take, reader.take)
    messages = [b"%d" % i for i in range(500)]

    for message in messages:
        bus.publish("plan", message)
    bus.publish("notes", b"end")

    assert await ann.until(b"499") == await bob.until(b"499") == messages
    assert await other.until(b"end") == [b"end"]


async def test_nothing_is_delivered_inside_publish(bus: Bus):
    reader = Reader()
    await bus.subscribe("plan", reader.take, reader.take)

    bus.publish("plan", b"a")

    assert reader.got == []
    assert await reader.until(b"a") == [b"a"]


async def test_what_was_published_before_subscribing_is_not_delivered(bus: Bus):
    reader = Reader()
    bus.publish("plan", b"before")
    await bus.subscribe("plan", reader.take, reader.take)
    bus.publish("plan", b"after")

    assert await reader.until(b"after") == [b"after"]


async def test_nothing_comes_after_unsubscribing(bus: Bus):
    gone, there = Reader(), Reader()
    subscription = await bus.subscribe("plan", gone.take, gone.take)
    await bus.subscribe("plan", there.take, there.take)

    bus.publish("plan", b"on its way")
    await bus.unsubscribe(subscription)
    await bus.unsubscribe(subscription)
    bus.publish("plan", b"end")

    assert await there.until(b"end") == [b"on its way", b"end"]
    assert gone.got == []


async def test_a_slow_subscriber_is_told_of_its_gap_and_delays_nobody(bus: Bus):
    slow = Reader()
    await bus.subscribe("plan", slow.take, slow.take)

    for i in range(5000):
        bus.publish("plan", b"%d" % i)
    await slow.until(None)
    bus.publish("plan", b"end")

    assert await slow.until(b"end") == [None, b"end"]


async def test_a_failing_subscriber_is_told_to_read_the_log(bus: Bus, caplog: pytest.LogCaptureFixture):
    reader, there = Reader(), Reader()

    def fail(_message: bytes) -> None:
        raise ValueError("a fault of the subscriber")

    await bus.subscribe("plan", fail, reader.take)
    await bus.subscribe("plan", there.take, there.take)
    bus.publish("plan", b"a")

    assert await reader.until(None) == [None]
    assert await there.until(b"a") == [b"a"]
    assert "room 'plan'" in caplog.text


async def test_a_callback_may_unsubscribe(bus: Bus):
    got: list[bytes] = []
    there = Reader()
    ending: list[asyncio.Task[None]] = []

    def take(message: bytes) -> None:
        got.append(message)
        ending.append(asyncio.ensure_future(bus.unsubscribe(subscription)))

    subscription = await bus.subscribe("plan", take, there.take)
    bus.publish("plan", b"a")
    await bus.subscribe("plan", there.take, there.take)
    bus.publish("plan", b"b")
    await there.until(b"b")
    await asyncio.gather(*ending)
    bus.publish("plan", b"c")
    await there.until(b"c")

    assert got in ([b"a"], [b"a", b"b"])


async def test_a_closed_bus_delivers_nothing(bus: Bus):
    reader = Reader()
    await bus.subscribe("plan", reader.take, reader.take)
    bus.publish("plan", b"a")

    await bus.close()
    await asyncio.sleep(0)

    assert reader.got == []
    with pytest.raises(ClosedError):
        bus.publish("plan", b"b")
    with pytest.raises(ClosedError):
        await bus.subscribe("plan", reader.take, reader.take)
