"""What compaction puts into an archive, and with which archive it does not go on."""

from __future__ import annotations

from pathlib import Path

from pyarrow import parquet

from collabkernel.errors import ArchiveError
from collabkernel.server.log_compaction import LogCompaction, holding
from collabkernel.storage.archive import Archive
from collabkernel.storage.base import OpRow
from tests.server.test_log_compaction import END_MS, Interrupted, World, log_of, run
from tests.server.worked_rooms import MADE_EVERY_MS, ROOM, START_MS, allowance


def archived(folder: Path) -> dict[str, list[OpRow]]:
    """Operations by the name of their file."""
    files = sorted(folder.rglob("*.parquet"))
    return {file.name: [OpRow(**row) for row in parquet.read_table(file).to_pylist()] for file in files}


def test_what_goes_is_archived_once_though_it_is_interrupted(tmp_path: Path) -> None:
    storage = Interrupted(0)

    async def scenario(world: World) -> None:
        log = await log_of(world.storage)
        archive = Archive(str(tmp_path))
        world.compaction = LogCompaction(storage, allowance(storage), archive=archive, watch=world.watch)
        cutoff_ms = START_MS + 30 * MADE_EVERY_MS
        assert await world.compact(cutoff_ms)
        first = await world.dropped()
        storage.writes_left = 2 + len(log) // 3  # at some kept state or in the drop
        while await world.dropped() < len(log) - 1:
            assert await world.compact()

        stored = archived(tmp_path)
        assert [row for rows in stored.values() for row in rows] == log[:-1]
        assert list(stored) == [f"{1:016}-{first:016}.parquet", f"{first + 1:016}-{len(log) - 1:016}.parquet"]
        assert "archive" in {step for step, _, _ in world.steps}

    run(scenario, storage)


def test_an_archive_of_another_past_is_not_gone_on_with(tmp_path: Path) -> None:
    """That of a database before a backup was restored: what was made since would be dropped, and archived nowhere."""

    async def scenario(world: World) -> None:
        log, room = await log_of(world.storage), await world.storage.head(ROOM)
        assert room is not None
        archive = Archive(str(tmp_path))
        archive.write(room, [*log[:9], log[9]._replace(hlc=log[9].hlc + 1)])
        compaction = LogCompaction(world.storage, allowance(world.storage), archive=archive)
        plan = await compaction.plan(ROOM, END_MS, 1)
        assert plan is not None

        async with holding(world.storage, "one") as lease:
            assert lease is not None
            outcome = await compaction.carry_out(plan, lease)

        assert isinstance(outcome.error, ArchiveError)
        assert await world.dropped() == 0

    run(scenario)
