"""The storage contract, part three: snapshots."""

from __future__ import annotations

import asyncio
import random

import pytest

from collabkernel.errors import RoomNotFoundError, StorageError
from collabkernel.storage.base import SnapshotRow, Storage
from tests.contract.authors import NOW_MS, enter

PLACES = [("memory", ""), ("sqlite", ""), ("postgres", ""), ("sqlite", "file"), ("sqlite", "s3"), ("postgres", "s3")]
"""Databases, and where blobs are."""
pytestmark = [pytest.mark.anyio, pytest.mark.parametrize(("storage_url", "blob_url"), PLACES, indirect=True)]


async def test_the_newest_snapshot_is_given_back(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(9)])
    assert await storage.latest_snapshot("plan") is None
    assert await storage.latest_snapshot("nowhere") is None

    for seq in (3, 5, 9, 4):
        await storage.save_snapshot(SnapshotRow("plan", seq, {"live": b"at %d" % seq, "tree": b""}), NOW_MS)

    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 9, {"live": b"at 9", "tree": b""})
    assert (await storage.head("plan")).snapshot_seq == 9


async def test_the_one_before_the_newest_is_kept(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(9)])
    for seq in (3, 5, 9):
        await storage.save_snapshot(SnapshotRow("plan", seq, {"live": b"at %d" % seq, "tree": b""}), NOW_MS)

    assert await storage.latest_snapshot("plan", before_seq=9) == SnapshotRow("plan", 5, {"live": b"at 5", "tree": b""})
    assert await storage.latest_snapshot("plan", ("live",), 9) == SnapshotRow("plan", 5, {"live": b"at 5"})
    assert await storage.latest_snapshot("plan", before_seq=5) is None
    assert await storage.sweep_blobs() == 0, "nothing is as old"


async def test_parts_of_a_snapshot_are_read_alone(storage: Storage):
    await enter(storage)
    await storage.save_snapshot(SnapshotRow("plan", 0, {"live": b"a", "tree": b"b", "blocks/1": b"c"}), NOW_MS)

    found = await storage.latest_snapshot("plan", ("live", "tree", "nothing"))

    assert found == SnapshotRow("plan", 0, {"live": b"a", "tree": b"b"})


async def test_a_snapshot_at_the_same_seq_replaces_the_older(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next()])

    for parts in ({"live": b"a", "gone": b"b"}, {"live": b"c"}):
        await storage.save_snapshot(SnapshotRow("plan", 1, parts), NOW_MS)

    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 1, {"live": b"c"})


async def test_a_large_part_is_kept_byte_by_byte(storage: Storage):
    await enter(storage)
    parts = {"live": random.Random(5).randbytes(300_000), "tree": b"\0" * 2_000_000, "again": b"\0" * 2_000_000}

    await storage.save_snapshot(SnapshotRow("plan", 0, parts), NOW_MS)

    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 0, parts)


async def test_a_snapshot_ahead_of_the_log_is_refused(storage: Storage):
    ann = await enter(storage)
    await storage.append([ann.next()])

    with pytest.raises(StorageError, match="ahead of its log, which ends at 1"):
        await storage.save_snapshot(SnapshotRow("plan", 2, {}), NOW_MS)
    with pytest.raises(RoomNotFoundError):
        await storage.save_snapshot(SnapshotRow("nowhere", 0, {}), NOW_MS)

    assert await storage.latest_snapshot("plan") is None


async def test_a_reader_never_sees_half_a_snapshot(storage: Storage, other: Storage):
    ann = await enter(storage)
    await storage.append([ann.next(12)])

    async def save() -> None:
        for seq in range(1, 13):
            parts = {name: f"{name} at {seq}".encode() for name in ("live", "tree")}
            await storage.save_snapshot(SnapshotRow("plan", seq, parts), NOW_MS)

    saver = asyncio.create_task(save())
    while not saver.done():
        snapshot = await other.latest_snapshot("plan")
        if snapshot is not None:
            at = f" at {snapshot.seq}".encode()
            assert snapshot.parts == {"live": b"live" + at, "tree": b"tree" + at}
        await asyncio.sleep(0)
    await saver
