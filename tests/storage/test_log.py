"""The statements of the op log."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from collabkernel.storage.base import Refusal
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.sqlite_statements import MAKE_NEXT
from tests.contract.authors import enter, whole_log

pytestmark = pytest.mark.anyio


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """The statements that every connection of SQLite runs, with their parameters in them."""
    found: list[str] = []

    def on_connect(driver: sqlite3.Connection, _record: object) -> None:
        driver.set_trace_callback(found.append)

    event.listen(Engine, "connect", on_connect)
    yield found
    event.remove(Engine, "connect", on_connect)


@pytest.fixture
async def storage(statements: list[str], path: Path) -> AsyncIterator[SqlStorage]:
    storage = SqlStorage(f"sqlite:///{path}")
    await storage.open()
    statements.clear()
    yield storage
    await storage.close()


async def test_no_statement_reads_a_whole_table(storage: SqlStorage, path: Path, statements: list[str]):
    """SQLite scans ``sites`` and ``ops`` for ``(a, b) IN (VALUES ...)``: at 100,000 operations, 30 ms an append."""
    ann, bob = await enter(storage, site=7), await enter(storage, "notes", site=8)
    request = ann.next(2)
    statements.clear()
    await storage.append([request, bob.next()])
    await storage.refuse("plan", 7, 1, Refusal(3, 1, "rate", ""))
    await storage.append([request, ann.at(3), bob.next()])
    await storage.resume_site("plan", 7, 1)
    await whole_log(storage)

    asked = [statement for statement in statements if statement.startswith(("SELECT", "UPDATE", "INSERT"))]
    with sqlite3.connect(path) as connection:
        for text in MAKE_NEXT:
            connection.execute(text)
        for statement in asked:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            scans = [step for step in plan if re.match(r"SCAN (?!.*VIRTUAL TABLE|\d+ CONSTANT ROWS)", step)]
            assert scans == [], f"{statement}\n{plan}"
    connection.close()
    assert len(asked) > 10


async def test_an_append_that_is_not_what_sites_send_next_takes_five_statements_whatever_its_size(
    storage: SqlStorage, statements: list[str]
):
    authors = [await enter(storage, f"room {i % 5}", site=i) for i in range(1, 41)]
    sent = authors[0].next()
    await storage.append([sent])
    statements.clear()

    await storage.append([sent, *[author.next(3) for author in authors]])

    kinds = [statement.split()[0] for statement in statements]
    general = kinds[kinds.index("BEGIN") :]
    assert general == ["BEGIN", *["SELECT"] * 3, *["UPDATE"] * 5, *["INSERT"] * 2, "COMMIT"]
