"""SQLite, beyond the contract: its settings, its file, its threads."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from collabkernel.storage.database import make_database, parse_url
from collabkernel.storage.sql import SqlStorage
from tests.bounds import HANG_S
from tests.contract.authors import enter

pytestmark = pytest.mark.anyio

USER = """
import asyncio, sys, threading
from collabkernel.storage import open_storage
from tests.contract.authors import enter

async def main(url, closes):
    storage = open_storage(url)
    await storage.open()
    ann = await enter(storage)
    await storage.append([ann.next(10)])
    task = asyncio.create_task(storage.append([ann.next(10)]))
    await asyncio.sleep(0)
    if closes:
        await storage.close()
    print(await task, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2] == "closes"))
"""


def pragmas(connection: Connection) -> list[object]:
    names = ("journal_mode", "synchronous", "foreign_keys")
    return [connection.scalar(text(f"PRAGMA {name}")) for name in names]


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 1)])
async def test_settings(path: Path, durable: bool, synchronous: int):
    database = make_database(parse_url(f"sqlite:///{path}"), durable)

    assert await database.open() is durable
    assert await database.write(pragmas) == ["wal", synchronous, 1]
    assert await database.write(pragmas, is_passing=True) == ["wal", 1, 1]
    assert await database.read(pragmas) == ["wal", synchronous, 1]

    await database.close()


async def test_the_file_is_for_its_owner_alone(tmp_path: Path):
    storage = SqlStorage(f"sqlite:///{tmp_path}/new/folder/rooms.db")
    await storage.open()
    await enter(storage)

    assert stat.S_IMODE((tmp_path / "new/folder").stat().st_mode) == 0o700
    for name in os.listdir(tmp_path / "new/folder"):
        assert stat.S_IMODE((tmp_path / "new/folder" / name).stat().st_mode) == 0o600, name

    await storage.close()


async def test_closing_ends_the_threads_and_folds_the_log_into_one_file(path: Path):
    before = set(threading.enumerate())
    storage = SqlStorage(f"sqlite:///{path}")
    await storage.open()
    ann = await enter(storage)
    await storage.append([ann.next(100)])

    await storage.close()

    for thread in set(threading.enumerate()) - before:
        thread.join(HANG_S)
        assert not thread.is_alive(), thread.name
    assert os.listdir(path.parent) == ["rooms.db"]


@pytest.mark.parametrize("closing", ["closes", "does not close"])
def test_the_process_ends(path: Path, closing: str):
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-c", USER, f"sqlite:///{path}", closing]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, text=True) as process:
        assert process.stdout is not None
        assert "Appended(seq=11" in process.stdout.readline()
        assert process.wait(timeout=HANG_S) == 0


async def test_a_change_by_others_is_seen_also_after_a_long_rest(path: Path):
    storage, other = SqlStorage(f"sqlite:///{path}"), SqlStorage(f"sqlite:///{path}")
    await storage.open()
    await other.open()
    ann = await enter(other)
    wal = path.with_name(f"{path.name}-wal")
    for _ in range(3):
        before = await storage.change_mark()
        os.utime(wal, ns=(0, wal.stat().st_mtime_ns - 10 * 1_000_000_000))  # nothing was written for a while
        rested = await storage.change_mark()
        assert await storage.change_mark() == rested == before

        await other.append([ann.next()])

        assert await storage.change_mark() != before
    await other.close()
    await storage.close()
