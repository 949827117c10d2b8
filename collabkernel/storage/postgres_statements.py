"""``Statements`` on PostgreSQL's driver, past SQLAlchemy, which took two thirds of what an append took here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it comes without types
from sqlalchemy import Connection, Executable

from collabkernel.storage.statements import Compiler, Parameters, Row, Statements, wrapped

T = TypeVar("T")
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class PostgresStatements:
    """One transaction's, inside ``run_sync`` of a connection that has none open.

    Statements are known by identity: pass those that are made once.
    """

    dialect = "postgresql"

    def __init__(self, connection: Connection, compiler: Compiler) -> None:
        self._connection = connection
        self._compile = compiler
        self._adapted: Any = connection.connection.dbapi_connection

    def transact(self, work: Callable[[Statements], T]) -> T:
        """Run ``work`` in a transaction, committed at its end, rolled back when something fails."""
        try:
            self._run("BEGIN")
            result = work(self)
            self._run("COMMIT")
        except Exception:
            self._roll_back()
            raise
        except BaseException:  # cancelled, with an answer on its way
            self._connection.invalidate()
            raise
        return result

    def rows(self, statement: Executable, parameters: Parameters) -> Sequence[Row]:
        """All rows of a query."""
        compiled = self._compile(statement)
        values = compiled.values(parameters)
        found: Sequence[Row] = self._ask(compiled.text, lambda driver: driver.fetch(compiled.text, *values))
        return found

    def run_each(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        """Run it with each of these."""
        compiled = self._compile(statement)
        values = [compiled.values(each) for each in parameters]
        self._ask(compiled.text, lambda driver: driver.executemany(compiled.text, values))

    def _run(self, text: str) -> None:
        self._ask(text, lambda driver: driver.execute(text))

    def _ask(self, text: str, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            return self._adapted.run_async(ask)
        except DRIVER_ERRORS as error:
            raise wrapped(text, error) from error

    def _roll_back(self) -> None:
        if self._adapted.driver_connection.is_closed():
            # SQLAlchemy finds out, says so, and drops the other connections of its pool that were lost with this one.
            self._connection.exec_driver_sql("SELECT 1")
        self._run("ROLLBACK")
