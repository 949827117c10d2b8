"""Rooms with all that a database has of one, to be moved to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from collabkernel.storage.base import Appended, OpRow, Refusal, SnapshotRow, Storage
from collabkernel.storage.migration import Migration, migration
from collabkernel.storage.sql import SqlStorage
from tests.bounds import HANG_S
from tests.contract.authors import NOW_MS, Author, enter

ROOMS = [f"room-{n}" for n in range(6)]


async def fill(storage: Storage, room_id: str = "plan", ops: int = 30) -> Author:
    """A room with sites, a refusal, snapshots, a version, and a log that begins late; the author who goes on."""
    author = await enter(storage, room_id)
    other = await enter(storage, room_id, site=8, actor="bob")
    for _ in range(3):
        await store(storage, author.next(ops // 3))
    head = await store(storage, other.next(2))
    assert await storage.refuse(room_id, 8, 1, Refusal(3, 1, "too-large", "no"))
    other.counter += 1
    for seq in (head - 4, head - 2):
        await storage.save_snapshot(SnapshotRow(room_id, seq, {"live": b"state", "tree": b"%d" % seq}), NOW_MS)
    await storage.save_version(room_id, head - 3, "first", b"as it was", NOW_MS)
    await storage.drop_ops(room_id, 5)
    await storage.resume_site(room_id, 8, NOW_MS + 1)
    return author


async def store(storage: Storage, request: object) -> int:
    """Append, and give the head of the log."""
    (answer,) = await storage.append([request])  # type: ignore[list-item]
    assert isinstance(answer, Appended), answer
    return answer.seq + len(request.ops) - 1  # type: ignore[attr-defined]


async def whole_log_behind(storage: SqlStorage, room_id: str = "plan") -> list[OpRow]:
    """What is in a log, from where it begins."""
    row = await storage.head(room_id)
    assert row is not None
    return [op async for rows in storage.read_ops(room_id, row.dropped_seq) for op in rows]


async def fill_files(storage: Storage) -> str:
    """Two files, one deleted, and a save; the id of the first."""
    file = await storage.file_by_path("a.ipynb", create=True, now_ms=NOW_MS)
    await storage.file_by_path("b.ipynb", create=True, now_ms=NOW_MS)
    await storage.delete_file("b.ipynb", NOW_MS)
    lease = await storage.acquire_lease("file:a", "one", 60_000)
    assert file is not None
    assert lease is not None
    assert await storage.record_save(file.file_id, lease, view="text", hash="h", seq=3, base=b"b", now_ms=NOW_MS)
    return file.file_id


@asynccontextmanager
async def migrating(old: SqlStorage, new: SqlStorage) -> AsyncIterator[Migration]:
    """The right to migrate, as soon as no server has it."""
    async with asyncio.timeout(HANG_S):
        while True:
            async with migration(old, new) as work:
                if work is not None:
                    yield work
                    return
            await asyncio.sleep(0.01)


async def differences(work: Migration) -> dict[str, str]:
    """What ``verify`` finds, by room; the rooms without a difference too."""
    return {compared.room_id: compared.difference async for compared in work.verify()}
