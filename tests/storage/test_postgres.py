"""PostgreSQL, beyond the contract: lost connections and what durability is worth there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from collabkernel.errors import DegradedError, StorageError
from collabkernel.storage import postgres as driver
from collabkernel.storage.base import Appended
from collabkernel.storage.database import Database
from collabkernel.storage.sql import SqlStorage
from tests.bounds import HANG_S
from tests.contract.authors import HLC, enter, whole_log
from tests.contract.line import Line, postgres_line
from tests.storage.conftest import opened

pytestmark = pytest.mark.anyio

SOON_S = 30.0
"""A connection is given up, and closed, in a few seconds each; without a bound TCP waits for a quarter of an hour."""


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


@pytest.fixture
async def behind_a_line(postgres_url: str, storage: SqlStorage) -> AsyncIterator[tuple[SqlStorage, Line]]:
    """Another storage, whose line to the server may fail."""
    del storage  # it has emptied the database
    line, line_url = postgres_line(postgres_url)
    far = SqlStorage(line_url)
    await far.open()
    yield far, line
    line.heal()
    await far.close()
    line.close()


@contextmanager
def swallowing(line: Line, *, is_told_of_its_end: bool = True) -> Iterator[None]:
    """Let the line swallow all; only meanwhile is no answer waited for long, since a busy machine may be slow too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "ANSWER_S", 0.5)
        line.swallow()
        yield
    line.heal(is_told=is_told_of_its_end)


async def test_a_line_that_swallows_is_told_soon_and_used_again_when_it_heals(
    storage: SqlStorage, behind_a_line: tuple[SqlStorage, Line]
):
    far, line = behind_a_line
    ann = await enter(far)
    await far.append([ann.next()])
    lost = ann.next()
    began_s = time.monotonic()
    with swallowing(line):
        with pytest.raises(StorageError, match="no answer in"):
            await far.append([lost])
        with pytest.raises(StorageError):
            await far.head("plan")
        with pytest.raises(StorageError):
            await far.resume_site("plan", ann.site, 1)
        with pytest.raises(StorageError, match="no answer in"):
            await far.new_site("plan", 9, "bob", 1, b"", 1)
    assert time.monotonic() - began_s < SOON_S

    (outcome,) = await far.append([lost])
    assert isinstance(outcome, Appended)
    assert [row.counter for row in await whole_log(storage)] == [1, 2]


async def test_a_server_that_stands_still_in_a_transaction_does_not_keep_the_others_out(
    storage: SqlStorage, behind_a_line: tuple[SqlStorage, Line], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(driver, "IDLE_IN_TRANSACTION_MS", 500)
    _, line = behind_a_line
    url = f"postgresql://postgres:@127.0.0.1:{line.port}/postgres"
    ann = await enter(storage)
    has_locked, goes_on = threading.Event(), threading.Event()

    def lock(connection: Connection) -> None:
        """Block the loop of a server of its own, as SIGSTOP would."""
        connection.execute(text("SELECT 1 FROM rooms WHERE id = 'plan' FOR UPDATE"))
        has_locked.set()
        assert goes_on.wait(HANG_S)

    standing_still = asyncio.create_task(asyncio.to_thread(asyncio.run, stand_still(url, lock)))
    assert await asyncio.to_thread(has_locked.wait, HANG_S)

    (outcome,) = await storage.append([ann.next()])
    assert isinstance(outcome, Appended)  # a duplicate, if it was stored when no answer was waited for any more
    assert [row.counter for row in await whole_log(storage)] == [1]
    goes_on.set()
    with pytest.raises((DBAPIError, TimeoutError)):
        await standing_still


async def stand_still(url: str, work: Callable[[Connection], None]) -> None:
    """A transaction of a server that has this loop."""
    async with opened(url) as database:
        await database.write(work)


async def test_a_line_that_is_cut_is_told_at_once_and_an_append_goes_on_when_it_heals(
    storage: SqlStorage, behind_a_line: tuple[SqlStorage, Line]
):
    far, line = behind_a_line
    ann = await enter(far)
    await far.append([ann.next()])
    line.cut()
    request = ann.next()
    with pytest.raises(DegradedError, match=r"cannot reach the database|connection"):
        await far.append([request])
    with pytest.raises(DegradedError):
        await far.head("plan")
    line.heal()
    assert await far.append([request]) == [Appended(2, HLC)]
    assert [row.counter for row in await whole_log(storage)] == [1, 2]


async def test_when_one_connection_is_dead_no_other_of_before_is_waited_for(
    storage: SqlStorage, behind_a_line: tuple[SqlStorage, Line]
):
    far, line = behind_a_line
    ann = await enter(far)
    await asyncio.gather(*[far.head("plan") for _ in range(8)])  # so many connections are open
    request = ann.next()
    with swallowing(line, is_told_of_its_end=False), pytest.raises(DegradedError):
        await far.append([request])
    assert await far.append([request]) == [Appended(1, HLC)]
    assert (await far.head("plan")).seq == 1
    assert [row.counter for row in await whole_log(storage)] == [1]


async def test_a_lock_that_another_server_keeps_is_the_trouble_of_one_room(
    storage: SqlStorage, postgres: Database, postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(driver, "LOCK_TIMEOUT_MS", 500)
    ann = await enter(storage)
    impatient = SqlStorage(postgres_url)
    await impatient.open()
    is_locked, may_end = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with postgres._writer.begin() as connection:  # a transaction that hangs; no function of ours does
            await connection.execute(text("SELECT seq FROM rooms FOR UPDATE"))
            is_locked.set()
            await may_end.wait()

    holding = asyncio.create_task(hold())
    await is_locked.wait()
    request = ann.next()
    with pytest.raises(StorageError, match="has held a lock for too long") as caught:
        await impatient.append([request])
    assert not isinstance(caught.value, DegradedError)
    may_end.set()
    await holding
    assert await impatient.append([request]) == [Appended(1, HLC)]
    await impatient.close()


async def test_the_servers_own_setting_says_what_is_durable(storage: SqlStorage, postgres: Database, postgres_url: str):
    assert storage.is_durable is True
    await postgres.write(lambda c: c.execute(text("CREATE ROLE hasty LOGIN SUPERUSER")))
    await postgres.write(lambda c: c.execute(text("ALTER ROLE hasty SET synchronous_commit TO off")))

    hasty = SqlStorage(postgres_url.replace("postgres:@", "hasty:@"))
    await hasty.open()

    assert hasty.is_durable is False
    await hasty.close()
