"""The statements of the op log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from collabkernel.storage.base import Refusal
from collabkernel.storage.sql import SqlStorage
from tests.contract.authors import enter, whole_log

pytestmark = pytest.mark.anyio


@contextmanager
def executed() -> Iterator[list[tuple[str, object]]]:
    """The statements that any engine executes, with their parameters."""
    statements: list[tuple[str, object]] = []

    def remember(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", remember)
    yield statements
    event.remove(Engine, "before_cursor_execute", remember)


async def test_no_statement_reads_a_whole_table(storage: SqlStorage, path: Path):
    """SQLite scans ``sites`` and ``ops`` for ``(a, b) IN (VALUES ...)``: at 100,000 operations, 30 ms an append."""
    ann, bob = await enter(storage, site=7), await enter(storage, "notes", site=8)
    request = ann.next(2)
    with executed() as statements:
        await storage.append([request, bob.next()])
        await storage.refuse("plan", 7, 1, Refusal(3, 1, "rate", ""))
        await storage.append([request, ann.at(3), bob.next()])
        await storage.resume_site("plan", 7, 1)
        await whole_log(storage)

    with sqlite3.connect(path) as connection:
        for statement, parameters in statements:
            if not statement.startswith(("SELECT", "UPDATE", "INSERT")):
                continue
            one = parameters[0] if isinstance(parameters, list) else parameters
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", one)]
            scans = [step for step in plan if step.startswith("SCAN") and "VIRTUAL TABLE" not in step]
            assert scans == [], f"{statement}\n{plan}"
    connection.close()
    assert len(statements) > 10


async def test_an_append_takes_four_statements_whatever_its_size(storage: SqlStorage):
    authors = [await enter(storage, f"room {i % 5}", site=i) for i in range(1, 41)]

    with executed() as statements:
        await storage.append([author.next(3) for author in authors])

    assert [statement.split()[0] for statement, _ in statements] == ["BEGIN", "SELECT", "SELECT", "UPDATE", "INSERT"]
