"""Snapshots in SQL, beyond the contract: shared blobs, expiry, damage."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import func, select, update

from collabkernel.errors import StorageError
from collabkernel.storage.base import SnapshotRow
from collabkernel.storage.database import Database
from collabkernel.storage.snapshots import compress, content_hash
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.tables import blobs, snapshots
from tests.contract.authors import NOW_MS, enter

pytestmark = pytest.mark.anyio


async def blob_hashes(database: Database) -> set[str]:
    return set(await database.read(lambda c: c.scalars(select(blobs.c.hash)).all()))


async def test_equal_parts_share_a_blob_and_expire_with_their_last_snapshot(storage: SqlStorage, database: Database):
    ann = await enter(storage)
    await storage.append([ann.next(4)])

    await storage.save_snapshot(SnapshotRow("plan", 1, {"live": b"old", "tree": b"same", "twin": b"same"}), NOW_MS)
    await storage.save_snapshot(SnapshotRow("plan", 2, {"live": b"new", "tree": b"same"}), NOW_MS)
    assert await blob_hashes(database) == {content_hash(state) for state in (b"old", b"new", b"same")}

    await storage.save_snapshot(SnapshotRow("plan", 3, {"live": b"newer", "tree": b"same"}), NOW_MS)
    assert await blob_hashes(database) == {content_hash(state) for state in (b"new", b"newer", b"same")}

    seqs = await database.read(lambda c: c.scalars(select(snapshots.c.seq)).all())
    assert sorted(seqs) == [2, 3]


async def test_a_drop_takes_the_blobs_of_the_older_snapshot(storage: SqlStorage, database: Database):
    ann = await enter(storage)
    await storage.append([ann.next(4)])
    await storage.save_snapshot(SnapshotRow("plan", 2, {"live": b"old", "tree": b"same"}), NOW_MS)
    await storage.save_snapshot(SnapshotRow("plan", 4, {"live": b"new", "tree": b"same"}), NOW_MS)

    await storage.drop_ops("plan", 3)

    assert await blob_hashes(database) == {content_hash(state) for state in (b"new", b"same")}


async def test_rooms_share_nothing(storage: SqlStorage, database: Database):
    for room_id in ("plan", "notes"):
        await enter(storage, room_id)
        await storage.save_snapshot(SnapshotRow(room_id, 0, {"live": b"same"}), NOW_MS)

    count = await database.read(lambda c: c.scalar(select(func.count()).select_from(blobs)))
    assert count == 2
    await storage.delete_room("notes")
    assert (await storage.latest_snapshot("plan")).parts == {"live": b"same"}


async def test_blobs_are_compressed(storage: SqlStorage, database: Database):
    await enter(storage)
    await storage.save_snapshot(SnapshotRow("plan", 0, {"live": b"word " * 100_000}), NOW_MS)

    stored = await database.read(lambda c: c.scalar(select(func.sum(func.length(blobs.c.data)))))

    assert stored < 1000


@pytest.mark.parametrize("data", [b"", b"no zstd", next(iter(compress([b"other contents"]).values()))], ids=repr)
async def test_a_damaged_blob_is_told_and_not_given(storage: SqlStorage, database: Database, data: bytes):
    await enter(storage)
    await storage.save_snapshot(SnapshotRow("plan", 0, {"live": random.Random(1).randbytes(99)}), NOW_MS)
    await database.write(lambda c: c.execute(update(blobs).values(data=data)))

    with pytest.raises(StorageError, match="damaged"):
        await storage.latest_snapshot("plan")
