"""Storages for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from collabkernel.storage.sql import SqlStorage
from tests.contract.databases import running_postgres


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One PostgreSQL server for the tests of this folder."""
    with running_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where ``storage`` has its file."""
    return tmp_path / "rooms.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqlStorage]:
    """An open storage on SQLite."""
    storage = SqlStorage(f"sqlite:///{path}")
    await storage.open()
    yield storage
    await storage.close()
