"""PostgreSQL, beyond the contract: lost connections and what durability is worth there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from collabkernel.storage.base import Appended
from collabkernel.storage.database import Database
from collabkernel.storage.sql import SqlStorage
from tests.contract.authors import HLC, enter, whole_log

pytestmark = pytest.mark.anyio


@pytest.fixture
async def storage(postgres_url: str) -> AsyncIterator[SqlStorage]:
    storage = SqlStorage(postgres_url)
    await storage.open()
    await storage.delete_room("plan")
    yield storage
    await storage.close()


async def cut_connections(postgres: Database) -> None:
    """End every other connection of the server, as its restart does."""
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = :type"
    )
    await postgres.write(lambda connection: connection.execute(text(cut), {"type": "client backend"}).all())


async def test_a_read_survives_a_lost_connection(storage: SqlStorage, postgres: Database):
    await enter(storage)
    await cut_connections(postgres)

    assert (await storage.head("plan")).seq == 0


async def test_an_append_survives_a_lost_connection(storage: SqlStorage, postgres: Database):
    ann = await enter(storage)
    await storage.append([ann.next()])
    await cut_connections(postgres)

    assert await storage.append([ann.next()]) == [Appended(2, HLC)]
    assert [row.counter for row in await whole_log(storage)] == [1, 2]


async def test_the_servers_own_setting_says_what_is_durable(storage: SqlStorage, postgres: Database, postgres_url: str):
    assert storage.is_durable is True
    await postgres.write(lambda c: c.execute(text("CREATE ROLE hasty LOGIN SUPERUSER")))
    await postgres.write(lambda c: c.execute(text("ALTER ROLE hasty SET synchronous_commit TO off")))

    hasty = SqlStorage(postgres_url.replace("postgres:@", "hasty:@"))
    await hasty.open()

    assert hasty.is_durable is False
    await hasty.close()
