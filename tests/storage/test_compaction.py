"""What compaction does to a file on the disk."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from collabkernel.storage.base import SnapshotRow
from collabkernel.storage.sql import SqlStorage
from tests.contract.authors import NOW_MS, Author, enter

pytestmark = pytest.mark.anyio
OP_BYTES, OPS_A_ROUND = 1000, 1000
MOST_BYTES = 5 << 20


def disk_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


async def traffic(storage: SqlStorage, path: Path, author: Author, rounds: int) -> int:
    """Updates of a megabyte a round, a snapshot, and the log dropped to it; the most that the disk had after one."""
    rng = random.Random(4)
    most = 0
    for _ in range(rounds):
        for _ in range(10):
            request = author.next(OPS_A_ROUND // 10)
            ops = tuple((64, rng.randbytes(OP_BYTES)) for _ in request.ops)
            await storage.append([replace(request, ops=ops)])
        parts = {"ydoc": rng.randbytes(50_000)}
        await storage.save_snapshot(SnapshotRow("plan", author.counter, parts), NOW_MS)
        await storage.drop_ops("plan", author.counter)
        most = max(most, disk_bytes(path))
    return most


async def test_the_file_does_not_grow_with_the_traffic(storage: SqlStorage, path: Path):
    most = await traffic(storage, path, await enter(storage), rounds=12)

    assert most < MOST_BYTES
    assert len([row async for rows in storage.read_ops("plan", 12 * OPS_A_ROUND - 1) for row in rows]) == 1


async def test_a_file_of_before_uses_its_free_pages_again(path: Path):
    """Its layout has no room for giving pages back; it stays as large as it was, and grows no more."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE older (x)")
    connection.close()
    storage = SqlStorage(f"sqlite:///{path}")
    await storage.open()
    author = await enter(storage)
    await traffic(storage, path, author, rounds=3)
    before = disk_bytes(path)

    await traffic(storage, path, author, rounds=5)

    assert disk_bytes(path) <= before + (256 << 10)
    await storage.close()


async def test_space_is_given_back_after_a_large_room(storage: SqlStorage, path: Path):
    author = await enter(storage)
    for _ in range(10):
        request = author.next(1000)
        await storage.append([replace(request, ops=tuple((64, b"x" * OP_BYTES) for _ in request.ops))])
    await storage.save_snapshot(SnapshotRow("plan", author.counter, {"ydoc": b"all"}), NOW_MS)
    assert disk_bytes(path) > 10_000_000

    await storage.drop_ops("plan", author.counter)

    assert disk_bytes(path) < 3 << 20
