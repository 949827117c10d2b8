"""The bus over a real Valkey that is killed, comes back, or stops answering; every bus's promises are in contract/."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from collabkernel.bus import make_bus, redis_link
from collabkernel.bus.base import OpsStoredMessage
from collabkernel.bus.outbox import MESSAGE_BYTES_MAX
from collabkernel.bus.redis import RedisBus
from collabkernel.errors import StorageError
from tests.bounds import HANG_S
from tests.bus.valkey import Valkey, connected

pytestmark = pytest.mark.anyio


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


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    started = Valkey(tmp_path / "valkey").start()
    yield started
    started.kill()


@pytest.fixture
def heads() -> Heads:
    return Heads()


@pytest.fixture
async def buses(valkey: Valkey, heads: Heads) -> AsyncIterator[list[RedisBus]]:
    """Of two servers."""
    buses = [RedisBus(valkey.url, heads, poll_ms=20) for _ in range(2)]
    for bus in buses:
        await bus.open()
        await connected(bus)
    yield buses
    for bus in buses:
        await bus.close()


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


async def test_a_large_message_comes_as_a_gap(buses: list[RedisBus]) -> None:
    reader = Reader()
    await buses[1].subscribe("plan", reader.take, reader.take)
    buses[0].publish("plan", bytes(MESSAGE_BYTES_MAX + 1))
    assert await reader.next() is None
    buses[0].publish("plan", b"after")
    assert await reader.next() == b"after"


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


async def test_a_bus_that_is_closed_while_it_publishes_ends(valkey: Valkey, heads: Heads) -> None:
    for turns in range(10):  # each at another line of what a round trip does
        bus = RedisBus(valkey.url, heads)
        await bus.open()
        await connected(bus)
        bus.publish("plan", b"a")
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(bus.close(), HANG_S)
