"""Statements on PostgreSQL's driver: all or nothing, told as SQLAlchemy tells it, and no connection in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.exc import DBAPIError

from collabkernel.storage import log
from collabkernel.storage.database import Database
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.statements import Statements
from collabkernel.storage.tables import refusals
from tests.bounds import HANG_S

pytestmark = pytest.mark.anyio

INSERT = insert(refusals)
READ = select(refusals.c.counter).where(refusals.c.room == bindparam("room"), refusals.c.counter > 1)


@pytest.fixture
async def storage(postgres_url: str) -> AsyncIterator[SqlStorage]:
    storage = SqlStorage(postgres_url)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
async def room(storage: SqlStorage, postgres: Database) -> AsyncIterator[int]:
    """The key of a room, which its refusals go with."""
    await storage.create_room("statements", 0)
    key = await postgres.read(partial(log.room_key, room_id="statements"))
    assert key is not None
    yield key
    await storage.delete_room("statements")


def refusal(room: int, counter: int) -> dict[str, object]:
    return {"room": room, "site": 7, "counter": counter, "ops_count": 1, "code": "rate", "reason": ""}


async def counters(postgres: Database, room: int) -> list[int]:
    return [counter for (counter,) in await postgres.append(lambda on: on.rows(READ, {"room": room}))]


async def test_parameters_go_to_their_places_and_what_returns_is_committed(postgres: Database, room: int):
    await postgres.append(lambda on: on.run_each(INSERT, [refusal(room, counter) for counter in (1, 2, 3)]))

    assert await counters(postgres, room) == [2, 3]


async def test_a_failed_transaction_leaves_nothing_and_its_connection_goes_on(postgres: Database, room: int):
    def insert_twice(on: Statements) -> None:
        on.run_each(INSERT, [refusal(room, 2)])
        on.run_each(INSERT, [refusal(room, 2)])

    def insert_and_fail(on: Statements) -> None:
        on.run_each(INSERT, [refusal(room, 3)])
        raise KeyError

    with pytest.raises(DBAPIError) as caught:
        await postgres.append(insert_twice)
    assert getattr(caught.value.orig, "sqlstate", None) == "23505"
    with pytest.raises(KeyError):
        await postgres.append(insert_and_fail)

    assert await counters(postgres, room) == []
    open_ones = text("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
    assert await postgres.read(lambda connection: connection.scalar(open_ones)) == 0


async def test_a_connection_that_was_lost_in_it_is_told_and_replaced(postgres: Database, room: int):
    end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = pg_backend_pid()")

    def insert_and_lose(on: Statements) -> None:
        on.run_each(INSERT, [refusal(room, 2)])
        on.rows(end, {})

    with pytest.raises(DBAPIError) as caught:
        await postgres.append(insert_and_lose)

    assert caught.value.connection_invalidated
    assert await counters(postgres, room) == []


async def test_one_that_is_given_up_leaves_no_lock(postgres: Database, room: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("collabkernel.storage.postgres.ANSWER_S", 0.2)
    lock = text(f"SELECT 1 FROM rooms WHERE key = {room} FOR UPDATE")
    wait = text("SELECT pg_sleep(1000)")
    with pytest.raises(TimeoutError):
        await postgres.append(lambda on: (on.rows(lock, {}), on.rows(wait, {})))
    monkeypatch.undo()

    async with asyncio.timeout(HANG_S):
        await postgres.append(lambda on: on.rows(lock, {}))
