"""Storages of every kind for the contract suites."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from collabkernel.storage import open_storage
from collabkernel.storage.base import Storage
from collabkernel.storage.migration import migration
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import SHARES
from tests.bus.valkey import Valkey, ValkeyCluster
from tests.contract.databases import make_storage, running_postgres
from tests.contract.s3 import S3, running_s3


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """One PostgreSQL server for the whole run."""
    with running_postgres() as url:
        yield url


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One Valkey for all tests that leave it running."""
    started = Valkey(tmp_path_factory.mktemp("valkey")).start()
    yield started
    started.kill()


@pytest.fixture(scope="session")
def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """One Cluster of three nodes for all tests that leave it running."""
    cluster = ValkeyCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster.start()
    cluster.kill()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the schema and no rooms: a copy takes less than the migrations."""
    path = tmp_path_factory.mktemp("sqlite") / "rooms.db"

    async def migrate() -> None:
        storage = open_storage(f"sqlite:///{path}")
        await storage.open()
        await storage.close()

    asyncio.run(migrate())
    return path


async def _begin_to_move(urls: Sequence[str]) -> None:
    old, new = [SqlStorage(url) for url in urls]
    await old.open()
    await new.open()
    async with migration(old, new) as work:
        assert work is not None
        async for _ in work.switch(SHARES // 2):
            pass
    await old.close()
    await new.close()


@pytest.fixture(params=["memory", "sqlite", "postgres", pytest.param("moving", marks=pytest.mark.long)])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind, and two between which rooms move."""
    match request.param:
        case "moving":
            urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("old", "new")]
            asyncio.run(_begin_to_move(urls))
            return "|".join(urls)
        case "memory":
            return "memory://"
        case "sqlite":
            shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path)
            return f"sqlite:///{tmp_path}/rooms.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """One S3 for all tests that leave it running."""
    with running_s3() as server:
        yield server


@pytest.fixture
def blob_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where all blobs are; in the database unless a test names another kind."""
    match getattr(request, "param", ""):
        case "file":
            return (tmp_path / "blobs").as_uri()
        case "s3":
            return str(request.getfixturevalue("s3").url)
    return ""


@pytest.fixture
async def storage(storage_url: str, blob_url: str) -> AsyncIterator[Storage]:
    """An open storage without rooms."""
    storage = make_storage(storage_url, blob_url)
    await storage.open()
    for room in await storage.list_rooms():
        await storage.delete_room(room.room_id)
    yield storage
    await storage.close()


@pytest.fixture
async def other(storage_url: str, blob_url: str, storage: Storage) -> AsyncIterator[Storage]:
    """The same database through another storage, as another server has it; in memory there is only one."""
    if storage_url == "memory://":
        yield storage
        return
    other = make_storage(storage_url, blob_url)
    await other.open()
    yield other
    await other.close()
