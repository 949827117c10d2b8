"""The statements of the op log."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import event

from collabkernel.storage.base import Refusal
from collabkernel.storage.sql import SqlStorage
from tests.contract.authors import enter

pytestmark = pytest.mark.anyio


async def test_no_statement_reads_a_whole_table(storage: SqlStorage, path: Path):
    """SQLite scans ``sites`` and ``ops`` for ``(a, b) IN (VALUES ...)``: at 100,000 operations, 30 ms an append."""
    ann, bob = await enter(storage, site=7), await enter(storage, "notes", site=8)
    statements: list[tuple[str, object]] = []

    def remember(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "INSERT")):
            statements.append((statement, parameters))

    for engine in (storage._database._writer, storage._database._reader):
        event.listen(engine, "before_cursor_execute", remember)
    request = ann.next(2)
    await storage.append([request, bob.next()])
    await storage.refuse("plan", 7, 1, Refusal(3, 1, "rate", ""))
    await storage.append([request, ann.at(3), bob.next()])
    await storage.resume_site("plan", 7, 1)
    [rows async for rows in storage.read_ops("plan", 0)]

    with sqlite3.connect(path) as connection:
        for statement, parameters in statements:
            one = parameters[0] if isinstance(parameters, list) else parameters
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", one)]
            scans = [step for step in plan if step.startswith("SCAN") and "VIRTUAL TABLE" not in step]
            assert scans == [], f"{statement}\n{plan}"
    connection.close()
    assert len(statements) > 10


async def test_an_append_takes_four_statements_whatever_its_size(storage: SqlStorage):
    authors = [await enter(storage, f"room {i % 5}", site=i) for i in range(1, 41)]
    statements: list[str] = []
    event.listen(storage._database._writer, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    await storage.append([author.next(3) for author in authors])

    assert [statement.split()[0] for statement in statements] == ["BEGIN", "SELECT", "SELECT", "UPDATE", "INSERT"]
