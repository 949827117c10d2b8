"""When a server compacts, and what it leaves to others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from collabkernel import metrics
from collabkernel.document.operations import Purge
from collabkernel.errors import BlobsAwayError, StorageError
from collabkernel.limits import Limits
from collabkernel.server.daily import DAY_MS, FIRST_MS, DailyCompaction, is_hour_of, local_hour
from collabkernel.server.hub import Hub
from collabkernel.server.log_compaction import LEASE
from collabkernel.server.purging import Purging
from collabkernel.server.reader import Reader
from collabkernel.server.room_history import RoomHistory
from collabkernel.storage.base import Rest, VersionRow
from collabkernel.storage.memory import MemoryStorage
from tests.server.raw import eventually
from tests.server.worked_rooms import MADE_EVERY_MS, ROOM, START_MS, allowance, store, worked_log

LIMITS = replace(Limits(), history_days=1, compact_ops=1)
WHOLE_MS = START_MS + 200 * MADE_EVERY_MS
"""All of the log was made by then."""


class SweptStorage(MemoryStorage):
    """Counts how often it was swept."""

    sweeps = 0
    damaged = "a-room"
    """Its kept states cannot be read."""
    is_away = False

    async def versions(self, room_id: str) -> list[VersionRow]:
        if room_id == self.damaged:
            raise StorageError("it is damaged")
        return await super().versions(room_id)

    async def sweep_blobs(self, rest: Rest | None = None) -> int:
        assert rest is not None
        await rest(0.0)
        if self.is_away:
            raise BlobsAwayError("nobody is there")
        self.sweeps += 1
        return await super().sweep_blobs(rest)


class World:
    """A server with a clock of its own."""

    def __init__(self, limits: Limits, archive_url: str = "") -> None:
        self.storage = SweptStorage()
        self.now_ms = WHOLE_MS
        self.hour = 3
        self.purges: list[str] = []
        """Rooms whose keepers were asked."""
        work, reader = allowance(self.storage), Reader(self.storage)
        self.job = DailyCompaction(
            self.storage,
            work,
            limits,
            lambda: self.now_ms,
            "one",
            Purging(reader, RoomHistory(self.storage, reader, limits), work, limits, lambda: self.now_ms, self._ask),
            archive_url,
            hour_of=lambda _: self.hour,
            look_s=0.001,
        )

    def _ask(self, room_id: str, ops: tuple[Purge, ...], seq: int) -> None:
        assert ops
        assert seq
        self.purges.append(room_id)

    async def dropped(self) -> int:
        row = await self.storage.head(ROOM)
        assert row is not None
        return row.dropped_seq

    async def is_compacted(self) -> bool:
        row = await self.storage.head(ROOM)
        assert row is not None
        return row.dropped_seq == row.seq - 1

    async def looks(self) -> None:
        """It has looked at the clock some times."""
        for _ in range(5):
            await asyncio.sleep(0.002)


def run(scenario: Callable[[World], Awaitable[None]], limits: Limits = LIMITS, archive_url: str = "") -> None:
    async def main() -> None:
        world = World(limits, archive_url)
        await world.storage.open()
        await store(world.storage, worked_log(1))
        task = asyncio.create_task(world.job.run())
        await scenario(world)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())


def test_rooms_are_compacted_a_while_after_the_start_and_once_a_day() -> None:
    async def scenario(world: World) -> None:
        counted = metrics.compacted_ops.collect()[0].samples[0].value
        await world.looks()
        assert await world.dropped() == 0
        world.now_ms += FIRST_MS
        await world.looks()
        assert await world.dropped() == 0, "the last operations are of this day"
        world.now_ms += DAY_MS
        await eventually(world.is_compacted)

        async def is_free() -> bool:
            return await world.storage.acquire_lease(LEASE, "two", 1) is not None

        await eventually(is_free)
        assert metrics.compacted_ops.collect()[0].samples[0].value - counted == await world.dropped()

    run(scenario)


def test_it_waits_for_its_hours() -> None:
    async def scenario(world: World) -> None:
        world.now_ms += FIRST_MS + DAY_MS
        await world.looks()
        assert await world.dropped() == 0
        world.hour = 23
        await eventually(world.is_compacted)

    run(scenario, replace(LIMITS, compact_from_hour=22, compact_to_hour=2))


def test_it_leaves_the_work_to_who_does_it_and_looks_again() -> None:
    async def scenario(world: World) -> None:
        lease = await world.storage.acquire_lease(LEASE, "two", 60_000)
        assert lease is not None
        world.now_ms += FIRST_MS + DAY_MS
        await world.looks()
        assert await world.dropped() == 0
        await world.storage.release_lease(lease)
        await eventually(world.is_compacted)

    run(scenario)


def test_an_archive_that_cannot_be_used_keeps_the_logs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")

    async def scenario(world: World) -> None:
        world.now_ms += FIRST_MS + DAY_MS

        async def is_told() -> bool:
            return f"Room {ROOM} was not compacted" in caplog.text

        await eventually(is_told)
        assert await world.dropped() == 0

    run(scenario, archive_url=str(tmp_path / "file"))


def test_a_run_that_fails_is_tried_again_in_a_day(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(world: World) -> None:
        world.now_ms += FIRST_MS + DAY_MS

        async def is_told() -> bool:
            return "tried again in a day" in caplog.text

        await eventually(is_told)
        assert await world.dropped() == 0

    run(scenario, archive_url="ftp://nowhere")


def test_a_damaged_room_does_not_keep_the_others_from_it(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(world: World) -> None:
        await world.storage.create_room(world.storage.damaged, 1)
        world.now_ms += FIRST_MS + DAY_MS
        await eventually(world.is_compacted)
        await eventually(lambda: _is(world.storage.sweeps == 1))
        assert f"Room {world.storage.damaged} was not compacted" in caplog.text

    run(scenario)


def test_rooms_are_purged_with_it() -> None:
    async def scenario(world: World) -> None:
        row = await world.storage.head(ROOM)
        assert row is not None
        await Reader(world.storage).write_snapshot(ROOM, row.seq, world.now_ms)
        world.now_ms += FIRST_MS + 2 * DAY_MS
        await eventually(lambda: _is(world.purges == [ROOM]))

    run(scenario, replace(LIMITS, purge_least=1))


def test_with_no_days_the_logs_are_kept_for_ever_and_blobs_are_swept_all_the_same() -> None:
    async def scenario(world: World) -> None:
        world.now_ms += FIRST_MS + 400 * DAY_MS
        await eventually(lambda: _is(world.storage.sweeps == 1))
        assert await world.dropped() == 0
        world.now_ms += DAY_MS
        await eventually(lambda: _is(world.storage.sweeps == 2))

    run(scenario, replace(LIMITS, history_days=0))


def test_blobs_that_cannot_be_reached_are_swept_the_next_day(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(world: World) -> None:
        world.storage.is_away = True
        world.now_ms += FIRST_MS + DAY_MS

        async def is_told() -> bool:
            return "Old blobs were not removed, and will be tried again in a day: nobody is there" in caplog.text

        await eventually(is_told)
        assert await world.is_compacted()

    run(scenario)


async def _is(what: bool) -> bool:
    return what


def test_hours_may_go_over_midnight() -> None:
    assert [hour for hour in range(24) if is_hour_of(hour, 22, 2)] == [0, 1, 22, 23]
    assert [hour for hour in range(24) if is_hour_of(hour, 2, 5)] == [2, 3, 4]
    assert all(is_hour_of(hour, 0, 24) for hour in range(24))
    assert 0 <= local_hour(START_MS) <= 23


def test_a_hub_ends_its_compaction_when_it_stops() -> None:
    async def main() -> None:
        hub = Hub(MemoryStorage())
        await hub.start()
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "daily compaction" in names
        await hub.stop()
        assert "daily compaction" not in {task.get_name() for task in asyncio.all_tasks()}

    asyncio.run(main())
