"""When a server works on its documents' logs, for how long it rests, and what is dropped of them when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest

from collabkernel.errors import StorageError
from collabkernel.limits import Limits
from collabkernel.room.document_log import seed_request
from collabkernel.server.compaction import Allowance, Compaction, Drops
from collabkernel.storage.base import SnapshotRow
from collabkernel.storage.memory import MemoryStorage
from tests.bounds import HANG_S
from tests.server.raw import eventually

ROOM = "text:file:1"
GRACE_MS = Limits().compact_grace_ms


def test_rests_make_work_a_share_of_the_time() -> None:
    allowance = Allowance(cpu_percent=5)
    assert allowance.rest_s(100.0) == 0
    allowance.spend(0.1, 100.0)
    assert allowance.rest_s(100.0) == pytest.approx(1.9)
    allowance.spend(0.1, 101.0)
    assert allowance.rest_s(101.0) == pytest.approx(2.8)
    assert allowance.rest_s(104.0) == 0
    allowance.spend(0.1, 200.0)
    assert allowance.rest_s(200.0) == pytest.approx(1.9)


def test_a_log_is_dropped_when_its_snapshot_is_old_enough() -> None:
    drops = Drops(grace_ms=600)
    assert drops.due_ms() is None
    drops.add("a", 5, 1000)
    drops.add("a", 8, 1100)
    drops.add("b", 3, 1050)
    assert drops.due_ms() == 1600
    assert drops.take_due(1599) == []
    assert drops.take_due(1650) == [("a", 5), ("b", 3)]
    assert drops.due_ms() == 1700
    drops.add("a", 9, 1101)
    assert drops.take_due(5000) == [("a", 9)]
    assert drops.due_ms() is None


class World:
    """A document of ten operations, and a server's compaction of it with a clock of its own."""

    def __init__(self, storage: MemoryStorage, has_peers: bool) -> None:
        self.storage = storage
        self.now_ms = 0
        self.compaction = Compaction(storage, Limits(), lambda: self.now_ms, has_peers)

    async def snapshot(self, seq: int) -> None:
        await self.storage.save_snapshot(SnapshotRow(ROOM, seq, {"ydoc": b"at %d" % seq}), 0)
        self.compaction.drop_below(ROOM, seq)

    async def dropped(self) -> int:
        row = await self.storage.head(ROOM)
        assert row is not None
        return row.dropped_seq


def run(
    scenario: Callable[[World], Coroutine[Any, Any, None]],
    has_peers: bool = False,
    storage: MemoryStorage | None = None,
) -> None:
    async def main() -> None:
        world = World(storage or MemoryStorage(), has_peers)
        await world.storage.open()
        await world.storage.create_room(ROOM, 0)
        await world.storage.new_site(ROOM, 1, "collabkernel", 2, bytes(32), 0)
        await world.storage.append([replace(seed_request(ROOM, b"u", "ann", 0), counter=n) for n in range(1, 11)])
        task = asyncio.create_task(world.compaction.run())
        await scenario(world)
        world.compaction.stop()
        await asyncio.wait_for(task, HANG_S)

    asyncio.run(main())


def test_who_is_alone_drops_at_once_all_but_the_snapshots_operation() -> None:
    async def scenario(world: World) -> None:
        await world.snapshot(6)

        async def is_dropped() -> bool:
            return await world.dropped() == 5

        await eventually(is_dropped)

    run(scenario)


def test_with_peers_the_log_stays_for_who_is_a_poll_behind() -> None:
    async def scenario(world: World) -> None:
        await world.snapshot(4)
        world.now_ms = GRACE_MS - 1
        await world.snapshot(6)
        assert await world.dropped() == 0
        world.now_ms = GRACE_MS

        async def is_dropped() -> bool:
            return await world.dropped() == 4

        await eventually(is_dropped)
        world.now_ms = 2 * GRACE_MS  # what is left is done by the end

    run(scenario, has_peers=True)


def test_nothing_goes_when_the_snapshot_cannot_be_read_and_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    class Damaged(MemoryStorage):
        is_damaged = True

        async def latest_snapshot(self, room_id: str, wanted: Sequence[str] | None = None) -> SnapshotRow | None:
            if self.is_damaged:
                raise StorageError("a blob is damaged")
            return await super().latest_snapshot(room_id, wanted)

    storage = Damaged()

    async def scenario(world: World) -> None:
        await world.snapshot(6)

        async def is_told() -> bool:
            return "a blob is damaged" in caplog.text

        await eventually(is_told)
        assert await world.dropped() == 0
        storage.is_damaged = False
        await world.snapshot(7)

        async def is_dropped() -> bool:
            return await world.dropped() == 6

        await eventually(is_dropped)

    run(scenario, storage=storage)


def test_a_room_that_is_gone_or_another_one_is_left_alone() -> None:
    async def scenario(world: World) -> None:
        world.compaction.drop_below("nowhere", 5)
        world.compaction.drop_below(ROOM, 5)
        await asyncio.sleep(0)
        await world.snapshot(3)

        async def is_dropped() -> bool:
            return await world.dropped() == 2

        await eventually(is_dropped)

    run(scenario)


def burn(cpu_s: float) -> int:
    until_s = time.thread_time() + cpu_s
    while time.thread_time() < until_s:
        pass
    return 7


def test_one_works_at_a_time_and_rests() -> None:
    async def main() -> None:
        compaction = Compaction(MemoryStorage(), Limits(), lambda: 0, has_peers=False)
        order: list[str] = []

        async def work(name: str) -> None:
            async with compaction.turn():
                order.append(f"{name} begins")
                assert await compaction.work(lambda: burn(0.02)) == 7
                order.append(f"{name} ends")

        started_s = time.monotonic()
        await asyncio.gather(work("a"), work("b"))
        assert order == ["a begins", "a ends", "b begins", "b ends"]
        assert time.monotonic() - started_s >= 0.02 * 20

    asyncio.run(main())


def test_work_may_count_more_than_once() -> None:
    async def main() -> None:
        compaction = Compaction(MemoryStorage(), Limits(), lambda: 0, has_peers=False)
        spent_s: list[float] = []
        compaction.spend = spent_s.append  # type: ignore[method-assign]  # what it would rest for
        async with compaction.turn():
            assert await compaction.work(lambda: burn(0.01), 3) == 7
        assert sum(spent_s) >= 0.03

    asyncio.run(main())


def test_nobody_rests_when_the_server_stops() -> None:
    async def main() -> None:
        compaction = Compaction(
            MemoryStorage(), replace(Limits(), compact_cpu_percent=0.01), lambda: 0, has_peers=False
        )

        async def work() -> None:
            async with compaction.turn():
                await compaction.work(lambda: burn(0.02))

        await work()
        resting = asyncio.create_task(work())
        await asyncio.sleep(0)
        compaction.stop()
        await asyncio.wait_for(asyncio.gather(resting, work()), HANG_S)  # 200 s is what each would rest

    asyncio.run(main())
