"""Databases of older versions are brought up to date with all that is in them."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from collabkernel.storage.base import Appended, OpRow, RoomRow, SnapshotRow, TicketRow
from collabkernel.storage.database import make_database, parse_url
from collabkernel.storage.sql import SqlStorage
from tests.contract.authors import HLC, NOW_MS, Author
from tests.storage.test_schema import make_postgres_database

pytestmark = pytest.mark.anyio

ROWS = (
    f"INSERT INTO rooms (id, seq, hlc, created_ms, updated_ms, snapshot_seq) VALUES ('plan', 2, {HLC}, 1, 2, 2)",
    "INSERT INTO sites VALUES (1, 7, 'ann', 1, 1, :payload, 0, false, 1, 1)",
    "INSERT INTO snapshots VALUES (1, 2, '{}', 1)",
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
    "INSERT INTO alembic_version VALUES ('0001')",
)
OP = f"INSERT INTO ops VALUES (1, {{n}}, 7, {{n}}, {{n}}, 0, {HLC}, 'ann', 1, :payload)"


def make_first_schema(connection: Connection) -> None:
    """The tables as the first version made them, with a room."""
    first = importlib.import_module("collabkernel.storage.migrations.versions.r0001_rooms")
    first.upgrade(Operations(MigrationContext.configure(connection)))
    for row in ROWS:
        connection.execute(text(row), {"payload": b""} if ":payload" in row else {})
    for n in (1, 2):
        connection.execute(text(OP.format(n=n)), {"payload": b"op %d" % n})


@pytest.fixture(params=["sqlite", "postgres"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[SqlStorage]:
    """A database of the first version, opened by this one."""
    if request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('path')}"
    else:
        server = request.getfixturevalue("postgres_url")
        await make_postgres_database(server, "older")
        url = server.replace("/postgres?", "/older?")
    database = make_database(parse_url(url), durable=True)
    await database.open()
    await database.write(make_first_schema)
    await database.close()
    storage = SqlStorage(url)
    await storage.open()
    yield storage
    await storage.close()


async def test_what_was_stored_is_there_and_the_new_tables_too(storage: SqlStorage):
    assert await storage.head("plan") == RoomRow("plan", 2, HLC, 1, 2, 2, 0)
    rows = [row async for rows in storage.read_ops("plan", 0) for row in rows]
    assert rows == [OpRow(n, 7, n, n, 0, HLC, "ann", 1, b"op %d" % n) for n in (1, 2)]
    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 2, {})
    author = Author("plan", 7, counter=2)
    assert await storage.append([author.next()]) == [Appended(3, HLC)]

    assert await storage.drop_ops("plan", 2) == 1
    file = await storage.file_by_path("a.ipynb", create=True, now_ms=NOW_MS)
    lease = await storage.acquire_lease("file:a", "one", 1000)
    assert file is not None
    assert lease is not None
    assert await storage.record_save(file.file_id, lease, view="text:file", hash="h", seq=3, base=b"b", now_ms=NOW_MS)
    await storage.save_version("plan", 3, "first", b"state", NOW_MS)
    assert await storage.version_state("plan", 3) == b"state"
    await storage.issue_ticket(TicketRow(b"d" * 32, "plan", "ann", "{}", 1, "", 60_000), 10)
    assert await storage.spend_ticket(b"d" * 32) is not None
