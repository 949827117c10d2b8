"""``Statements`` on PostgreSQL's driver, past SQLAlchemy, which took two thirds of what an append took here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it comes without types
from sqlalchemy import Connection, Executable

from collabkernel.storage.append import fault_in
from collabkernel.storage.base import Appended, AppendRequest
from collabkernel.storage.statements import Compiler, Parameters, Row, Statements, wrapped

T = TypeVar("T")
APPEND_NEXT = "SELECT collab_append_next($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
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
        self._has_begun = False

    def transact(self, work: Callable[[Statements], T]) -> T:
        """Run ``work`` in a transaction, committed at its end, rolled back when something fails.

        It begins with the first statement: what ``append_next`` can store needs none.
        """
        try:
            result = work(self)
            if self._has_begun:
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
        self._begin()
        compiled = self._compile(statement)
        values = compiled.values(parameters)
        found: Sequence[Row] = self._ask(compiled.text, lambda driver: driver.fetch(compiled.text, *values))
        return found

    def run_each(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        """Run it with each of these."""
        self._begin()
        compiled = self._compile(statement)
        values = [compiled.values(each) for each in parameters]
        self._ask(compiled.text, lambda driver: driver.executemany(compiled.text, values))

    def append_next(self, batch: Sequence[AppendRequest], now_ms: int) -> list[Appended] | None:
        """Store envelopes by the database's own function, which migrations 0006 and 0007 make."""
        assert not self._has_begun, "it is a transaction of its own"
        if any(request.is_purge or fault_in(request) is not None for request in batch):
            return None
        envelopes = [
            (r.room_id, r.site, r.epoch, r.counter, len(r.ops), r.base, r.hlc, r.actor, r.purged_seq) for r in batch
        ]
        ops = [
            (number, nth, kind, payload)
            for number, request in enumerate(batch, 1)
            for nth, (kind, payload) in enumerate(request.ops)
        ]
        columns = [*zip(*envelopes, strict=True), *zip(*ops, strict=True), now_ms]
        first_seqs = self._ask(APPEND_NEXT, lambda driver: driver.fetchval(APPEND_NEXT, *columns))
        if first_seqs is None:
            return None
        return [Appended(seq, request.hlc) for seq, request in zip(first_seqs, batch, strict=True)]

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._run("BEGIN")

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
