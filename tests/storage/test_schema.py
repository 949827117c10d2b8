"""Migrations: the newest is known, two processes may open a new database at once, and a current one opens quickly."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

from collabkernel.errors import StorageError
from collabkernel.storage import schema
from collabkernel.storage.database import Database
from collabkernel.storage.sql import SqlStorage
from tests.bounds import HANG_S

pytestmark = pytest.mark.anyio

OPENER = """
import asyncio, sys
from collabkernel.storage import open_storage

async def main(url):
    storage = open_storage(url)
    sys.stdin.readline()
    await storage.open()
    await storage.create_room(f"by {sys.argv[2]}", 1)
    await storage.close()

asyncio.run(main(sys.argv[1]))
"""


def open_in_processes(url: str, count: int) -> None:
    """Open a database from several processes, started first and let go together."""
    openers = [
        subprocess.Popen([sys.executable, "-c", OPENER, url, str(i)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for i in range(count)
    ]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write(b"\n")
        opener.stdin.flush()
    for opener in openers:
        _, errors = opener.communicate(timeout=HANG_S)
        assert opener.returncode == 0, errors.decode()


def test_head_is_the_newest_migration():
    assert ScriptDirectory(str(schema.MIGRATIONS)).get_heads() == [schema.HEAD]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_several_processes_open_a_new_database_at_once(kind: str, path: Path, request: pytest.FixtureRequest):
    url = f"sqlite:///{path}"
    if kind == "postgres":
        server = request.getfixturevalue("postgres_url")
        await make_postgres_database(server, "fresh")
        url = server.replace("/postgres?", "/fresh?")

    await asyncio.to_thread(open_in_processes, url, 3)

    storage = SqlStorage(url)
    await storage.open()
    assert [room.room_id for room in await storage.list_rooms()] == ["by 0", "by 1", "by 2"]
    await storage.close()


async def make_postgres_database(server: str, name: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()


async def test_two_new_databases_are_opened_at_once_in_one_process(tmp_path: Path):
    storages = [SqlStorage(f"sqlite:///{tmp_path}/{i}.db") for i in range(4)]

    await asyncio.gather(*(storage.open() for storage in storages))

    for storage in storages:
        assert await storage.list_rooms() == []
        await storage.close()


async def test_a_newer_schema_is_left_alone(database: Database, path: Path):
    await database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))

    with pytest.raises(StorageError, match="a newer version has opened it; upgrade collabkernel"):
        await SqlStorage(f"sqlite:///{path}").open()


async def test_a_failed_migration_leaves_nothing_behind(path: Path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE blobs (mine TEXT)")
    connection.close()

    with pytest.raises(StorageError, match="blobs"):
        await SqlStorage(f"sqlite:///{path}").open()

    with sqlite3.connect(path) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    connection.close()
    assert tables == ["blobs"]


async def test_a_current_database_opens_quickly(tmp_path: Path):
    took_s = []
    for _ in range(5):
        storage = SqlStorage(f"sqlite:///{tmp_path}/opened.db")
        started_s = time.process_time()
        await storage.open()
        took_s.append(time.process_time() - started_s)
        await storage.close()

    assert min(took_s[1:]) < took_s[0] / 2


def test_a_current_database_opens_without_alembic(path: Path):
    program = OPENER + "\nassert ('alembic.script' in sys.modules) == (sys.argv[2] == '0')"
    for i in ("0", "1"):
        subprocess.run([sys.executable, "-c", program, f"sqlite:///{path}", i], input=b"\n", check=True, timeout=HANG_S)
