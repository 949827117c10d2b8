"""Statements past SQLAlchemy, beyond what the contract of storages shows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.exc import DBAPIError

from collabkernel.storage.statements import ROWS_AT_ONCE, SqliteStatements, Statements
from collabkernel.storage.tables import refusals

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

    statements.run_each(INSERT, [REFUSAL | {"counter": counter} for counter in range(2, 2 + count)])

    assert len(ran) == -(-count // ROWS_AT_ONCE)
    driver.set_trace_callback(None)
    assert statements.rows(READ, {"room": 1}) == [(counter,) for counter in range(2, 2 + count)]


def test_what_inserts_nothing_by_values_runs_for_each(driver: sqlite3.Connection):
    statements = SqliteStatements(driver)
    statements.run_each(INSERT, [REFUSAL | {"counter": counter} for counter in (2, 3, 4)])

    gone = delete(refusals).where(refusals.c.counter == bindparam("gone"))
    statements.run_each(gone, [{"gone": 2}, {"gone": 4}])

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


def must_not_begin(statements: Statements) -> None:
    raise AssertionError(f"it began on {statements}")


def test_a_transaction_that_cannot_begin_is_told_as_the_databases_error(driver: sqlite3.Connection):
    statements = SqliteStatements(driver)
    driver.execute("BEGIN")

    with pytest.raises(DBAPIError):
        statements.transact(must_not_begin)

    assert statements.transact(lambda _: driver.in_transaction)
