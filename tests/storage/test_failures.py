"""What goes wrong with a database is said with its reason and with what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from collabkernel.errors import DegradedError, StorageError
from collabkernel.storage import failures, sqlite
from collabkernel.storage.database import Database, parse_url
from collabkernel.storage.sql import SqlStorage
from tests.contract.authors import enter

pytestmark = pytest.mark.anyio


async def failure_of_opening(url: str, *, may_pass: bool = False) -> str:
    with pytest.raises(StorageError) as raised:
        await SqlStorage(url).open()
    assert isinstance(raised.value, DegradedError) is may_pass, raised.value
    return str(raised.value)


async def test_a_file_that_is_no_database(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("this is no database " * 100)

    assert "no SQLite database; choose another path" in await failure_of_opening(f"sqlite:///{tmp_path}/notes.txt")
    assert (tmp_path / "notes.txt").read_text().startswith("this is no database")


async def test_a_folder_in_the_place_of_the_file(tmp_path: Path):
    assert str(tmp_path) in await failure_of_opening(f"sqlite:///{tmp_path}")


async def test_a_file_in_the_place_of_the_folder(tmp_path: Path):
    (tmp_path / "file").touch()

    assert "check that its folder is one and is writable" in await failure_of_opening(
        f"sqlite:///{tmp_path}/file/rooms.db"
    )


async def test_a_write_lock_that_another_process_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
    storage = SqlStorage(f"sqlite:///{tmp_path}/rooms.db")
    await storage.open()
    ann = await enter(storage)
    other = sqlite3.connect(tmp_path / "rooms.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    request = ann.next()
    with pytest.raises(DegradedError, match="another process has held the write lock for too long"):
        await storage.append([request])
    assert (await storage.head("plan")).seq == 0, "readers do not wait for it"

    other.execute("ROLLBACK")
    other.close()
    assert [answer.seq for answer in await storage.append([request])] == [1]
    await storage.close()


def test_a_full_disk(tmp_path: Path):
    engine = create_engine(f"sqlite:///{tmp_path}/small.db")
    with engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count=2"))
        connection.execute(text("CREATE TABLE t (data BLOB)"))
        with pytest.raises(DBAPIError) as full:
            connection.execute(text("INSERT INTO t VALUES (zeroblob(100000))"))
    engine.dispose()

    error = failures.explain(full.value, parse_url(f"sqlite:///{tmp_path}/small.db"))

    assert "the disk is full; free some space, nothing acknowledged was lost" in str(error)
    assert isinstance(error, DegradedError)


async def test_a_postgres_server_that_is_not_there(tmp_path: Path):
    refused = await failure_of_opening(f"postgresql://ann:secret@/rooms?host={tmp_path}", may_pass=True)

    assert "cannot reach the database; check that it runs" in refused
    assert "secret" not in refused


async def test_a_postgres_database_that_does_not_exist(postgres_url: str):
    refused = await failure_of_opening(postgres_url.replace("/postgres?", "/nowhere?"))

    assert "the server has no such database" in refused


async def test_a_postgres_user_that_does_not_exist(postgres_url: str):
    refused = await failure_of_opening(postgres_url.replace("postgres:@", "nobody:secret@"))

    assert "the server refused this user" in refused
    assert "secret" not in refused


async def test_a_postgres_user_who_may_nothing(postgres_url: str, postgres: Database):
    await postgres.write(lambda connection: connection.execute(text("CREATE ROLE reader LOGIN")))

    refused = await failure_of_opening(postgres_url.replace("postgres:@", "reader:@"))

    assert "this user may not do that; grant it CREATE" in refused


@pytest.mark.parametrize(
    ("code", "may_pass"),
    [
        ("08006", True),
        ("57P03", True),
        ("53100", True),
        ("40001", True),
        ("25006", True),
        ("57P04", False),
        ("23505", False),
    ],
)
def test_what_may_pass_of_postgres_is_told_by_its_code(code: str, may_pass: bool):
    """What asyncpg raises has its code as ``sqlstate``; these come from servers that a test cannot bring about."""
    cause = type("PostgresError", (Exception,), {"sqlstate": code})("it says so")

    error = failures.explain(DBAPIError("a statement", None, cause), parse_url("postgresql://ann:secret@host/rooms"))

    assert isinstance(error, DegradedError) is may_pass


@pytest.mark.parametrize("cause", [OSError(111, "Connect call failed ('db.example.org', 5432)"), SQLAlchemyError("no")])
def test_peers_are_not_told_where_the_database_is(cause: Exception):
    error = failures.explain(cause, make_url("postgresql+asyncpg://collab:secret@db.example.org/rooms"))

    assert "db.example.org" in str(error)
    assert "example" not in error.told
    assert "collab" not in error.told
