"""Statements of one transaction. The append runs its few through this, as the driver takes them.

SQLAlchemy takes 50 to 80 us for a statement and 130 for an empty transaction, sqlite3 itself 10: an append of one
operation took 0.85 ms of the processor with it, and everybody's edits wait for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from collabkernel.storage.base import Appended, AppendRequest

ROWS_AT_ONCE = 64
"""Rows in one statement: Python's lock is given up and taken back for each, with the event loop waiting for it too."""

T = TypeVar("T")
Row = Sequence[Any]
Parameters = Mapping[str, object]


class Statements(Protocol):
    """Runs statements in a transaction that somebody else begins and ends. Raises SQLAlchemy's errors."""

    dialect: str
    """``sqlite`` or ``postgresql``."""

    def rows(self, statement: Executable, parameters: Parameters) -> Sequence[Row]:
        """All rows of a query."""

    def run_each(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        """Run it with each of these."""

    def append_next(self, batch: Sequence[AppendRequest], now_ms: int) -> list[Appended] | None:
        """Store envelopes of which each is what its site sends next, as a transaction of its own, in one round trip.

        None when that is not what they are, or there is no such way here: nothing was done.
        """


class AlchemyStatements:
    """``Statements`` on a connection of SQLAlchemy."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect.name

    def rows(self, statement: Executable, parameters: Parameters) -> Sequence[Row]:
        """All rows of a query."""
        return self._connection.execute(statement, parameters).all()

    def run_each(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        """Run it with each of these."""
        self._connection.execute(statement, parameters)

    def append_next(self, batch: Sequence[AppendRequest], now_ms: int) -> None:
        """There is no such way here."""


class Compiled(NamedTuple):
    """A statement as a driver takes it."""

    text: str
    pick: Callable[[Parameters], Sequence[object]]
    """The values of the parameters, in the order of their places."""
    constants: Parameters
    """Those that are written in the statement itself."""
    more: str
    """What makes it insert one row more; empty for what inserts none by their values."""

    def values(self, parameters: Parameters) -> Sequence[object]:
        """What goes to the places."""
        return self.pick({**self.constants, **parameters} if self.constants else parameters)


class Compiler:
    """Compiles each statement once. They are known by identity: pass those that are made once."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._compiled: dict[Executable, Compiled] = {}

    def __call__(self, statement: Executable) -> Compiled:
        """The statement as the driver takes it."""
        found = self._compiled.get(statement)
        if found is None:
            compiled = statement.compile(dialect=self._dialect)  # type: ignore[attr-defined]  # of every statement
            assert isinstance(compiled, SQLCompiler)
            constants = {name: value for name, value in compiled.params.items() if value is not None}
            found = Compiled(compiled.string, _picker(compiled.positiontup or ()), constants, _more(compiled.string))
            self._compiled[statement] = found
        return found


class SqliteStatements:
    """``Statements`` on SQLite's driver. Values are the driver's own: a boolean is a number."""

    dialect = "sqlite"

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver
        self._compile = Compiler(sqlite.dialect())

    def transact(self, work: Callable[[Statements], T]) -> T:
        """Run ``work`` in a write transaction, committed at its end, rolled back when something fails."""
        try:
            self._driver.execute("BEGIN IMMEDIATE")
            result = work(self)
            self._driver.execute("COMMIT")
        except sqlite3.Error as error:
            self._driver.rollback()
            raise wrapped("a transaction", error) from error
        except BaseException:
            self._driver.rollback()
            raise
        return result

    def data_version(self) -> int:
        """What other connections' commits change."""
        try:
            (version,) = self._driver.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            raise wrapped("PRAGMA data_version", error) from error
        return int(version)

    def rows(self, statement: Executable, parameters: Parameters) -> Sequence[Row]:
        """All rows of a query."""
        compiled = self._compile(statement)
        try:
            found: list[Row] = self._driver.execute(compiled.text, compiled.values(parameters)).fetchall()
        except sqlite3.Error as error:
            raise wrapped(compiled.text, error) from error
        return found

    def run_each(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        """Run it with each of these."""
        compiled = self._compile(statement)
        values = [compiled.values(each) for each in parameters]
        try:
            if not compiled.more:
                self._driver.executemany(compiled.text, values)
                return
            for start in range(0, len(values), ROWS_AT_ONCE):
                rows = values[start : start + ROWS_AT_ONCE]
                text = compiled.text + compiled.more * (len(rows) - 1)
                self._driver.execute(text, list(chain.from_iterable(rows)))
        except sqlite3.Error as error:
            raise wrapped(compiled.text, error) from error

    def append_next(self, batch: Sequence[AppendRequest], now_ms: int) -> None:
        """There is no such way here, and no round trip."""


def _more(text: str) -> str:
    head, _, row = text.rpartition(" VALUES ")
    return f", {row}" if head.startswith("INSERT INTO ") and row.endswith(")") else ""


def _picker(names: Sequence[str]) -> Callable[[Parameters], Sequence[object]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda parameters: [parameters[name] for name in names]


def wrapped(text: str, error: Exception) -> DBAPIError:
    """An error of the driver, as SQLAlchemy tells it."""
    return DBAPIError(text, None, error)
