"""Storages for the tests of this folder."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collabkernel.storage.database import Database, make_database, parse_url
from collabkernel.storage.sql import SqlStorage
from tests.contract.databases import running_postgres


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """One PostgreSQL server for the tests of this folder."""
    with running_postgres() as url:
        yield url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where ``storage`` has its file."""
    return tmp_path / "rooms.db"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """The database below a storage, to look at and to damage."""
    database = make_database(parse_url(url), durable=True)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def database(path: Path, storage: SqlStorage) -> AsyncIterator[Database]:
    """The file of ``storage``."""
    del storage
    async with opened(f"sqlite:///{path}") as database:
        yield database


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Database]:
    """The PostgreSQL server, with the rights of its superuser."""
    async with opened(postgres_url) as database:
        yield database


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the schema and no rooms: a copy takes less than the migrations."""
    path = tmp_path_factory.mktemp("sqlite") / "rooms.db"

    async def migrate() -> None:
        storage = SqlStorage(f"sqlite:///{path}")
        await storage.open()
        await storage.close()

    asyncio.run(migrate())
    return path


@pytest.fixture
async def new(tmp_path: Path, migrated: Path) -> AsyncIterator[SqlStorage]:
    """Another one, to which the rooms of ``storage`` may move."""
    path = shutil.copy(migrated, tmp_path / "new.db")
    storage = SqlStorage(f"sqlite:///{path}")
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
async def storage(path: Path, migrated: Path) -> AsyncIterator[SqlStorage]:
    """An open storage on SQLite."""
    shutil.copy(migrated, path)
    storage = SqlStorage(f"sqlite:///{path}")
    await storage.open()
    yield storage
    await storage.close()
