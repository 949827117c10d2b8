"""Statements of one transaction. The append runs its few through this, as the driver takes them.

SQLAlchemy takes 50 to 80 us for a statement and 130 for an empty transaction, sqlite3 itself 10: an append of one
operation took 0.85 ms of the processor with it, and everybody's edits wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from collabkernel.storage.base import Appended, AppendRequest

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
