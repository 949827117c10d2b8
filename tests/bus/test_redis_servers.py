"""Servers by URL: a Cluster whose slots move and whose nodes die, and a master that a Sentinel replaces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from collabkernel.bus.redis import RedisBus
from collabkernel.bus.redis_servers import servers_at
from collabkernel.storage.memory import MemoryStorage
from tests.bounds import HANG_S
from tests.bus.valkey import ValkeyCluster, WatchedValkey, connected

pytestmark = pytest.mark.anyio
ROOMS = [f"r{n}" for n in range(12)]


class Reader:
    """What came of each room; None for a gap."""

    def __init__(self) -> None:
        self.got: dict[str, list[bytes | None]] = {room_id: [] for room_id in ROOMS}
        self._came = asyncio.Event()

    async def follow(self, bus: RedisBus, room_id: str) -> None:
        def take(message: bytes | None = None) -> None:
            self.got[room_id].append(message)
            self._came.set()

        await bus.subscribe(room_id, take, take)

    async def until(self, room_id: str, message: bytes | None) -> None:
        async with asyncio.timeout(HANG_S):
            while message not in self.got[room_id]:
                self._came.clear()
                await self._came.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ValkeyCluster]:
    cluster = ValkeyCluster(tmp_path)
    yield cluster.start()
    cluster.kill()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedValkey]:
    watched = WatchedValkey(tmp_path)
    yield watched.start()
    watched.kill()


async def two_buses(url: str) -> list[RedisBus]:
    """Of two servers whose logs tell nothing: what comes, comes over Redis."""
    buses = []
    for _ in range(2):
        log = MemoryStorage()
        await log.open()
        buses.append(RedisBus(url, log))
        await buses[-1].open()
        await connected(buses[-1])
    return buses


async def publish_until(bus: RedisBus, reader: Reader, room_id: str, message: bytes) -> None:
    """Publish until it arrives: while a route changes messages are lost, and told as gaps."""
    async with asyncio.timeout(HANG_S):
        while message not in reader.got[room_id]:
            bus.publish(room_id, message)
            await asyncio.sleep(0.02)


async def test_rooms_are_spread_over_the_nodes_of_a_cluster(cluster: ValkeyCluster) -> None:
    buses, reader = await two_buses(cluster.url), Reader()
    for room_id in ROOMS:
        await reader.follow(buses[1], room_id)
    for room_id in ROOMS:
        buses[0].publish(room_id, b"a")
        buses[0].publish(room_id, b"b")
    for room_id in ROOMS:
        await reader.until(room_id, b"b")
        assert reader.got[room_id] == [b"a", b"b"], "in order, once, no gap"
    channels = [cluster.ask(n, "PUBSUB", "SHARDCHANNELS") for n in range(3)]
    assert [len(each) for each in channels] == [sum(cluster.owner(room_id) == n for room_id in ROOMS) for n in range(3)]
    assert all(channels), "each node has some"
    for bus in buses:
        await bus.close()


async def test_a_room_whose_slot_moves_is_told_a_gap_and_goes_on_at_the_other_node(cluster: ValkeyCluster) -> None:
    buses, reader, room_id = await two_buses(cluster.url), Reader(), ROOMS[0]
    await reader.follow(buses[1], room_id)
    buses[0].publish(room_id, b"before")
    await reader.until(room_id, b"before")

    cluster.move(room_id, (cluster.owner(room_id) + 1) % 3)

    await reader.until(room_id, None)
    await publish_until(buses[0], reader, room_id, b"after")
    for bus in buses:
        await bus.close()


async def test_when_a_node_dies_its_rooms_have_a_gap_and_the_others_go_on(cluster: ValkeyCluster) -> None:
    buses, reader = await two_buses(cluster.url), Reader()
    for room_id in ROOMS:
        await reader.follow(buses[1], room_id)
    dead = cluster.nodes[1]

    dead.kill()
    await asyncio.gather(*[connected(bus, False) for bus in buses])
    for room_id in ROOMS:
        if cluster.owner(room_id) == 1:
            await reader.until(room_id, None)
        else:
            buses[0].publish(room_id, b"meanwhile")
            await reader.until(room_id, b"meanwhile")
            assert reader.got[room_id] == [b"meanwhile"], "no gap"

    dead.start()
    await asyncio.gather(*[connected(bus) for bus in buses])
    for room_id in ROOMS:
        await publish_until(buses[0], reader, room_id, b"again")
    for bus in buses:
        await bus.close()


async def test_when_the_master_dies_the_one_that_the_sentinel_made_master_takes_over(watched: WatchedValkey) -> None:
    buses, reader, room_id = await two_buses(watched.url), Reader(), ROOMS[0]
    await reader.follow(buses[1], room_id)
    buses[0].publish(room_id, b"before")
    await reader.until(room_id, b"before")

    watched.master.kill()

    await reader.until(room_id, None)
    await publish_until(buses[0], reader, room_id, b"after")
    for bus in buses:
        await bus.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://localhost",
        "redis+sentinel://localhost/rooms/one",
        "redis+sentinel:///rooms",
        "redis+cluster://localhost/0",
        "redis+cluster://localhost:port",
        "redis+cluster://localhost,",
        "amqp://localhost",
    ],
)
def test_what_names_no_servers_is_said(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        servers_at(url)
