"""Statements past SQLAlchemy, beyond what the contract of storages shows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.exc import DBAPIError

from collabkernel.storage import roster, sqlite_statements
from collabkernel.storage.base import Appended, SiteRow
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.sqlite_statements import NEXT_BYTES, NEXT_OPS, ROWS_AT_ONCE, SqliteStatements
from collabkernel.storage.statements import Statements
from collabkernel.storage.tables import refusals
from tests.contract.authors import HLC, NOW_MS, enter, whole_log

pytestmark = pytest.mark.anyio

INSERT = insert(refusals)
READ = select(refusals.c.counter).where(refusals.c.room == bindparam("room"), refusals.c.counter > 1)
REFUSAL = {"room": 1, "site": 7, "ops_count": 1, "code": "rate", "reason": ""}


@pytest.fixture
def driver() -> Iterator[sqlite3.Connection]:
    driver = sqlite3.connect(":memory:", isolation_level=None)
    driver.execute("CREATE TABLE refusals (room, site, counter, ops_count, code, reason, UNIQUE (room, site, counter))")
    yield driver
    driver.close()


def test_parameters_go_to_their_places_and_constants_stay(driver: sqlite3.Connection):
    statements = SqliteStatements(driver)

    statements.transact(lambda on: on.run_each(INSERT, [REFUSAL | {"counter": counter} for counter in (1, 2, 3)]))

    assert statements.rows(READ, {"room": 1}) == [(2,), (3,)]
    assert statements.rows(READ, {"room": 2}) == []


@pytest.mark.parametrize("count", [ROWS_AT_ONCE - 1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 1])
def test_rows_go_in_together(driver: sqlite3.Connection, count: int):
    statements = SqliteStatements(driver)
    ran: list[str] = []
    driver.set_trace_callback(ran.append)

    inserted = [REFUSAL | {"counter": counter} for counter in range(2, 2 + count)]
    statements.transact(lambda on: on.run_each(INSERT, inserted))

    assert len(ran) == 1 + -(-count // ROWS_AT_ONCE) + 1
    driver.set_trace_callback(None)
    assert statements.rows(READ, {"room": 1}) == [(counter,) for counter in range(2, 2 + count)]


def test_what_inserts_nothing_by_values_runs_for_each(driver: sqlite3.Connection):
    statements = SqliteStatements(driver)
    gone = delete(refusals).where(refusals.c.counter == bindparam("gone"))

    def insert_and_delete(on: Statements) -> None:
        on.run_each(INSERT, [REFUSAL | {"counter": counter} for counter in (2, 3, 4)])
        on.run_each(gone, [{"gone": 2}, {"gone": 4}])

    statements.transact(insert_and_delete)

    assert statements.rows(READ, {"room": 1}) == [(3,)]


def insert_twice(statements: Statements) -> None:
    statements.run_each(INSERT, [REFUSAL | {"counter": 1}, REFUSAL | {"counter": 1}])


def insert_and_fail(statements: Statements) -> None:
    statements.run_each(INSERT, [REFUSAL | {"counter": 2}])
    raise KeyError


def test_a_failed_transaction_leaves_nothing(driver: sqlite3.Connection):
    statements = SqliteStatements(driver)

    with pytest.raises(DBAPIError, match="UNIQUE"):
        statements.transact(insert_twice)
    with pytest.raises(KeyError):
        statements.transact(insert_and_fail)

    assert not driver.in_transaction
    assert driver.execute("SELECT * FROM refusals").fetchall() == []


def test_a_transaction_that_cannot_begin_is_told_as_the_databases_error(driver: sqlite3.Connection):
    statements = SqliteStatements(driver)
    driver.execute("BEGIN")

    with pytest.raises(DBAPIError):
        statements.transact(lambda on: on.rows(READ, {"room": 1}))

    assert statements.transact(lambda on: on.rows(READ, {"room": 1})) == []
    assert not driver.in_transaction


async def test_what_a_site_sends_next_is_one_statement(path: Path, storage: SqlStorage):
    ann = await enter(storage)
    driver = sqlite3.connect(path, isolation_level=None)
    statements = SqliteStatements(driver)
    assert statements.append_next([ann.next()], NOW_MS) == [Appended(1, HLC)]
    ran: list[str] = []
    driver.set_trace_callback(ran.append)

    stored = statements.append_next([ann.next(5), ann.next(NEXT_OPS - 5)], NOW_MS)

    driver.set_trace_callback(None)
    assert stored == [Appended(2, HLC), Appended(7, HLC)]
    assert len(set(ran)) == 1, "it is told again for each step of the trigger"
    assert len(await whole_log(storage)) == 1 + NEXT_OPS
    assert statements.append_next([ann.next(NEXT_OPS), ann.next()], NOW_MS) is None, "more than it takes"
    large = replace(ann.at(2 + NEXT_OPS), ops=((1, bytes(NEXT_BYTES)), (1, b"1")))
    assert statements.append_next([large], NOW_MS) is None, "more bytes than it takes"
    driver.close()


async def test_a_site_is_entered_by_one_statement_and_the_room_stays_known(path: Path, storage: SqlStorage):
    ann = await enter(storage)
    driver = sqlite3.connect(path, isolation_level=None)
    statements = SqliteStatements(driver)
    assert statements.append_next([ann.next()], NOW_MS)
    bob = {"room_id": "plan", "site": 8, "actor": "bob", "kind": 1, "secret_hash": b"", "now_ms": NOW_MS}
    ran: list[str] = []
    driver.set_trace_callback(ran.append)

    assert statements.change(roster.ENTER["sqlite"], bob) == 1
    assert len(ran) == 1
    assert statements.append_next([ann.next()], NOW_MS)

    driver.set_trace_callback(None)
    assert len(set(ran)) == 2, "one for the site, and one for the envelope"
    assert statements.change(roster.ENTER["sqlite"], bob) == 0
    assert await storage.site("plan", 8) == SiteRow("plan", 8, "bob", 1, 1, b"", 0)
    with pytest.raises(DBAPIError, match="NOT NULL"):
        statements.change(roster.ENTER["sqlite"], bob | {"site": 9, "actor": None})
    assert not driver.in_transaction
    driver.close()


async def test_rooms_are_forgotten_that_nothing_is_stored_in(
    path: Path, storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sqlite_statements, "ROOMS_KNOWN", 2)
    driver = sqlite3.connect(path, isolation_level=None)
    statements = SqliteStatements(driver)
    authors = [await enter(storage, f"room {number}") for number in range(4)]
    for author in authors:
        assert statements.append_next([author.next()], NOW_MS)
    asked: list[str] = []
    driver.set_trace_callback(lambda text: asked.append(text) if text.startswith("SELECT key") else None)

    for author in reversed(authors):
        assert statements.append_next([author.next()], NOW_MS) == [Appended(2, HLC)]

    assert len(asked) == 2
    driver.close()


async def test_a_full_disk_is_told_and_nothing_is_stored(path: Path, storage: SqlStorage):
    ann = await enter(storage)
    driver = sqlite3.connect(path, isolation_level=None)
    statements = SqliteStatements(driver)
    assert statements.append_next([ann.next()], NOW_MS)
    (pages,) = driver.execute("PRAGMA page_count").fetchone()
    driver.execute(f"PRAGMA max_page_count = {pages}")
    large = replace(ann.at(2), ops=((1, bytes(1 << 20)),))

    with pytest.raises(DBAPIError, match="full"):
        statements.transact(lambda on: on.append_next([large], NOW_MS))

    assert not driver.in_transaction
    driver.execute("PRAGMA max_page_count = 100000")
    assert statements.append_next([large], NOW_MS) == [Appended(2, HLC)]
    driver.close()
