"""What a server finds to be deleted long ago, and asks a room's keeper to purge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Side, Slot
from collabkernel.crdt.tree.rekeys import fresh_keys
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    ContainerKind,
    ListDelete,
    ListInsert,
    MapDelete,
    MapSet,
    NewContainer,
    NewDocument,
    Op,
    Purge,
    document_id,
)
from collabkernel.errors import TooManyError
from collabkernel.limits import Limits
from collabkernel.server.daily import DAY_MS
from collabkernel.server.hub import Hub
from collabkernel.server.log_compaction import LogCompaction, holding
from collabkernel.server.purging import Purging
from collabkernel.server.reader import Reader
from collabkernel.server.room_history import RoomHistory
from collabkernel.storage.base import AppendRequest
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.ops import encode_op, op_kind
from tests.server.raw import eventually
from tests.server.worked_rooms import ROOM, START_MS, allowance, store

LIMITS = replace(Limits(), history_days=30, purge_least=3, keeper_tick_ms=1)
LIST = OpId(7, 1)


class World:
    """A room of one site, and who looks at it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.storage = MemoryStorage()
        self.now_ms = START_MS
        self.count = 0
        self.asked: list[Purge] = []
        self.asked_seq = 0
        self.is_full = False
        reader = Reader(self.storage)
        past = RoomHistory(self.storage, reader, limits)
        self.purging = Purging(reader, past, allowance(self.storage), limits, lambda: self.now_ms, self._ask)

    def _ask(self, room_id: str, ops: tuple[Purge, ...], seq: int) -> None:
        if self.is_full:
            raise TooManyError("rooms on this server", 1, 1)
        assert room_id == ROOM
        self.asked += ops
        self.asked_seq = seq

    async def do(self, *ops: Op) -> None:
        """Store operations, stamped now."""
        encoded = tuple([(op_kind(op), encode_op(op)) for op in ops])
        counter, self.count = self.count + 1, self.count + len(ops)
        hlc = (self.now_ms << 16) + counter
        await store(self.storage, [AppendRequest(ROOM, 7, 1, counter, counter - 1, hlc, "ann", encoded)])

    async def do_seen(self, op: Op, purged_seq: int) -> None:
        """Store an operation whose author has seen a purge."""
        row = await self.storage.head(ROOM)
        assert row is not None
        self.count += 1
        encoded = ((op_kind(op), encode_op(op)),)
        hlc = (self.now_ms << 16) + 99
        await store(self.storage, [AppendRequest(ROOM, 7, 1, self.count, row.seq, hlc, "ann", encoded, purged_seq)])

    async def fill(self, count: int) -> None:
        """A list of so many, and as many keys."""
        await self.do(MapSet(ROOT, "l", NewContainer(ContainerKind.LIST)))
        for n in range(count):
            parent = OpId(7, self.count - 1) if n else None
            await self.do(ListInsert(LIST, parent, Side.RIGHT, n), MapSet(ROOT, f"k{n}", n))

    def element(self, n: int) -> OpId:
        return OpId(7, 2 + 2 * n)

    async def look(self) -> list[Purge]:
        """Write a snapshot, look, and tell what was asked for since the last time."""
        row = await self.storage.head(ROOM)
        assert row is not None
        await Reader(self.storage).write_snapshot(ROOM, row.seq, self.now_ms)
        asked = len(self.asked)
        count = await self.purging.purge(ROOM)
        assert self.is_full or count == len(self.asked) - asked
        return self.asked[asked:]


def run(scenario: Callable[[World], Awaitable[None]], limits: Limits = LIMITS) -> None:
    async def main() -> None:
        world = World(limits)
        await world.storage.open()
        await scenario(world)

    asyncio.run(main())


def test_what_was_deleted_for_long_is_asked_for_and_what_was_lately_is_not() -> None:
    async def scenario(world: World) -> None:
        await world.fill(10)
        world.now_ms += DAY_MS
        await world.do(*[ListDelete(LIST, world.element(n)) for n in range(4)], MapDelete(ROOT, "k1"))
        world.now_ms += DAY_MS
        await world.do(ListDelete(LIST, world.element(5)), MapDelete(ROOT, "k2"))
        world.now_ms += 28 * DAY_MS
        assert await world.look() == []

        world.now_ms += DAY_MS + 1
        slots, keys = await world.look()
        assert slots == Purge(LIST, tuple(world.element(n) for n in range(4)))
        assert (keys.target, keys.ids) == (ROOT, ())
        assert keys.floor is not None
        assert keys.floor.hlc >> 16 == START_MS + DAY_MS, "the highest of those that go"

        world.now_ms += 2 * DAY_MS
        slots, keys = await world.look()
        assert slots.ids == tuple(world.element(n) for n in (0, 1, 2, 3, 5))

    run(scenario)


def test_too_few_are_left_alone_and_so_are_rooms_without_a_snapshot() -> None:
    async def scenario(world: World) -> None:
        await world.fill(10)
        await world.do(*[ListDelete(LIST, world.element(n)) for n in range(2)])
        world.now_ms += 40 * DAY_MS
        assert await world.purging.purge(ROOM) == 0
        assert await world.look() == []
        await world.do(MapDelete(ROOT, "k1"))
        world.now_ms += 40 * DAY_MS
        assert len(await world.look()) == 2

    run(scenario)


def test_with_no_days_nothing_is_purged() -> None:
    async def scenario(world: World) -> None:
        await world.fill(10)
        await world.do(*[ListDelete(LIST, world.element(n)) for n in range(9)])
        world.now_ms += 4000 * DAY_MS
        assert await world.look() == []

    run(scenario, replace(LIMITS, history_days=0))


def test_where_nobody_knows_what_a_room_was_its_keys_alone_are_found() -> None:
    async def scenario(world: World) -> None:
        await world.fill(10)
        await world.do(*[ListDelete(LIST, world.element(n)) for n in range(4)])
        await world.do(*[MapDelete(ROOT, f"k{n}") for n in range(5)])
        world.now_ms += 40 * DAY_MS
        await world.do(MapSet(ROOT, "k", 1))
        (keys,) = await world.look()
        assert keys.target == ROOT
        assert keys.floor is not None

    run(scenario, replace(LIMITS, past_ops=5))


def test_a_full_server_purges_another_day(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(world: World) -> None:
        await world.fill(10)
        await world.do(*[ListDelete(LIST, world.element(n)) for n in range(4)])
        world.now_ms += 40 * DAY_MS
        world.is_full = True
        assert await world.look() == []
        assert "was not purged" in caplog.text
        world.is_full = False
        assert len(await world.look()) == 1

    run(scenario)


def test_a_hub_loads_a_room_to_purge_it_and_lets_go_of_it() -> None:
    async def main() -> None:
        world = World()
        hub = Hub(world.storage, LIMITS)
        await hub.start()
        await world.fill(10)
        await world.do(*[ListDelete(LIST, world.element(n)) for n in range(9)])
        hub.ask_purge(ROOM, (Purge(LIST, tuple(sorted(world.element(n) for n in range(9)))),), 0)

        async def is_purged() -> bool:
            fold, _ = await Reader(world.storage).load(ROOM)
            return fold.state.purged_seq > 0

        await eventually(is_purged)
        fold, _ = await Reader(world.storage).load(ROOM)
        assert [slot.slot for slot in fold.state.tree.nodes[LIST].items.slots()] == [world.element(9)]  # type: ignore[union-attr]  # it is a list
        assert fold.state.tree.to_json()["l"] == [9]
        await hub.stop()

    asyncio.run(main())


def test_a_log_with_purges_is_compacted_and_its_past_is_as_it_was() -> None:
    async def main() -> None:
        world = World()
        await world.storage.open()
        await world.fill(10)
        await world.do(*[ListDelete(LIST, world.element(n)) for n in range(9)])
        await world.do(*[MapDelete(ROOT, f"k{n}") for n in range(9)])
        before = await world.storage.head(ROOM)
        assert before is not None
        history = RoomHistory(world.storage, Reader(world.storage), LIMITS)
        as_it_was = await history.state_at(ROOM, seq=before.seq)
        world.now_ms += 40 * DAY_MS
        ops = await world.look()
        assert len(ops) == 2
        for n, op in enumerate(ops, 1):
            encoded = ((op_kind(op), encode_op(op)),)
            seen = before.seq + n - 1 if n > 1 else 0
            request = AppendRequest(
                ROOM, 1, 1, n, before.seq, (world.now_ms << 16) + n, "keeper", encoded, purged_seq=seen, is_purge=True
            )
            await store(world.storage, [request])
        await world.do_seen(MapSet(ROOT, "k0", "again"), purged_seq=before.seq + 2)
        row = await world.storage.head(ROOM)
        assert row is not None
        await Reader(world.storage).write_snapshot(ROOM, row.seq, world.now_ms)
        fold, _ = await Reader(world.storage).load(ROOM)
        assert fold.state.tree.to_json() == {"l": [9], "k9": 9, "k0": "again"}

        async with holding(world.storage, "me") as lease:
            assert lease is not None
            compaction = LogCompaction(world.storage, allowance(world.storage))
            plan = await compaction.plan(ROOM, world.now_ms + 1, ops_min=1)
            assert plan is not None
            outcome = await compaction.carry_out(plan, lease)

        assert outcome.error is None
        assert outcome.ops_dropped > before.seq
        history = RoomHistory(world.storage, Reader(world.storage), LIMITS)
        assert await history.state_at(ROOM, seq=before.seq) == as_it_was
        again, _ = await Reader(world.storage).load(ROOM)
        assert again.to_parts() == fold.to_parts()
        assert again.state.purged_seq == before.seq + 2

    asyncio.run(main())


def test_blocks_are_asked_for_that_are_deleted_since_then() -> None:
    async def scenario(world: World) -> None:
        body = document_id("body")
        keys = fresh_keys(9, 7)
        await world.do(NewDocument(ROOT, "body"))
        await world.do(*[BlockInsert(body, Slot.CHILD, key, "paragraph") for key in keys])
        first = [OpId(7, n) for n in range(2, 11)]
        await world.do(*[BlockDelete(block) for block in first[:5]])
        row = await world.storage.head(ROOM)
        assert row is not None
        world.now_ms += DAY_MS
        await world.do(BlockMove(first[0], body, Slot.CHILD, keys[0]), BlockDelete(first[0]), BlockDelete(first[5]))
        world.now_ms += 29 * DAY_MS + 1

        assert await world.look() == [Purge(ROOT, tuple(first[1:5]))]
        assert world.asked_seq == row.seq
        world.now_ms += DAY_MS
        assert await world.look() == [Purge(ROOT, tuple(first[:6]))]

    run(scenario)
