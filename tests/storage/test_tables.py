"""The migrations make the tables that the code knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from collabkernel.storage.database import make_database, parse_url
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.tables import metadata

pytestmark = pytest.mark.anyio


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": metadata})
    return list(compare_metadata(context, metadata))


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_migrations_and_tables_are_the_same(kind: str, path: Path, request: pytest.FixtureRequest):
    url = f"sqlite:///{path}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    database = make_database(parse_url(url), durable=True)
    storage = SqlStorage(url, database=database)
    await storage.open()

    assert await database.read(differences) == []

    await storage.close()


async def test_what_sqlite_is_told_beside_the_columns_is_the_same(storage: SqlStorage, path: Path):
    """Autogenerate does not compare WITHOUT ROWID, AUTOINCREMENT and the names of constraints."""
    import sqlite3

    from sqlalchemy import create_engine

    del storage
    made = create_engine(f"sqlite:///{path.parent}/made.db")
    metadata.create_all(made)
    made.dispose()

    def schema_of(file: Path) -> dict[str, str]:
        with sqlite3.connect(file) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        connection.close()
        return {name: " ".join(sql.split()) for name, sql in rows if name not in ("alembic_version", "sqlite_sequence")}

    assert schema_of(path) == schema_of(path.parent / "made.db")
