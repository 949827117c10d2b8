"""Says what is wrong with a database, whether it may pass, and what to do. Decides by error codes, never by texts."""

from __future__ import annotations

import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from collabkernel.errors import DegradedError, StorageError

DATABASE_ERRORS = (SQLAlchemyError, OSError)
"""What SQLAlchemy, and asyncpg before it is connected, raise when the database fails."""

_SQLITE_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process has held the write lock for too long; retry, or look who has it open",
    sqlite3.SQLITE_LOCKED: "another connection holds a lock; retry",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only for this user",
    sqlite3.SQLITE_FULL: "the disk is full; free some space, nothing acknowledged was lost",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check that its folder exists and is writable for this user",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write; check it and its free space",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "this file is no SQLite database; choose another path",
}
_SQLITE_PASSING = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
})  # fmt: skip
"""The file is whole, and takes what is asked once somebody has seen to its disk or let go of a lock."""
_POSTGRES_ADVICE = {
    "28": "the server refused this user; check the name and password in the URL",
    "3F": "this user has no schema; create one, or set its search_path",
    "3D": "the server has no such database; create it, or check the name in the URL",
    "42501": "this user may not do that; grant it CREATE, SELECT, INSERT, UPDATE and DELETE on the schema",
    "53100": "the server's disk is full; free some space, nothing acknowledged was lost",
    "53300": "the server has no connection left; raise its max_connections",
    "25006": "the server is read-only: it is a standby; connect to the primary",
    "55P03": "another server has held a lock for too long; look what hangs there (pg_stat_activity)",
    "57P": "the server is shutting down or starting; retry",
    "08": "the connection broke; retry",
}
_POSTGRES_PASSING = ("08", "25006", "40", "53", "57", "58")
"""Of PostgreSQL's SQLSTATEs (its manual, appendix A) the classes that say nothing about what was asked: the connection,
a standby, a transaction that lost against another, resources, an operator's intervention, the system below it."""
_POSTGRES_FINAL = frozenset({"57P04"})
"""... but for a database that was dropped."""


def explain(error: Exception, url: URL) -> StorageError:
    """The error to raise for a database's error: a ``DegradedError`` when the same may go well later."""
    shown = url.render_as_string(hide_password=True)
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    advice = _advice(cause, url)
    detail = str(cause).strip() or type(cause).__name__
    kind = DegradedError if _may_pass(error, cause, url) else StorageError
    return kind(f"{shown}: {advice} ({detail})" if advice else f"{shown}: {detail}")


def _may_pass(error: Exception, cause: BaseException, url: URL) -> bool:
    code = _sqlite_code(cause)
    if code is not None:
        return code in _SQLITE_PASSING
    sqlstate = getattr(cause, "sqlstate", None)
    if isinstance(sqlstate, str):
        return sqlstate.startswith(_POSTGRES_PASSING) and sqlstate not in _POSTGRES_FINAL
    if isinstance(error, DBAPIError):  # asyncpg says of a connection that is closed no more than that
        return error.connection_invalidated
    return isinstance(cause, PoolTimeoutError) or (isinstance(cause, OSError) and url.get_backend_name() != "sqlite")


def is_locked(error: Exception) -> bool:
    """Whether SQLite gave up because another connection held a lock."""
    return isinstance(error, DBAPIError) and _sqlite_code(error.orig) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def missing_driver(url: URL, error: Exception) -> StorageError:
    """The error for a URL whose driver is not installed."""
    shown = url.render_as_string(hide_password=True)
    return StorageError(f"{shown}: its driver is not installed; run: pip install 'collabkernel[postgres]' ({error})")


def unknown_kind(url: URL) -> StorageError:
    """The error for a URL of another kind of database."""
    shown = url.render_as_string(hide_password=True)
    return StorageError(f"{shown}: collabkernel stores rooms in sqlite:///FILE, postgresql://HOST/NAME or memory://")


def _advice(cause: BaseException, url: URL) -> str | None:
    code = _sqlite_code(cause)
    if code is not None:
        return _SQLITE_ADVICE.get(code)
    # asyncpg's errors carry ``sqlstate``; SQLAlchemy's wrapper around them too.
    sqlstate = getattr(cause, "sqlstate", None)
    if isinstance(sqlstate, str):
        return next((advice for prefix, advice in _POSTGRES_ADVICE.items() if sqlstate.startswith(prefix)), None)
    if isinstance(cause, PoolTimeoutError):
        return "all connections are busy; the database is too slow for this load"
    if isinstance(cause, OSError) and url.get_backend_name() == "sqlite":
        return "the file cannot be made; check that its folder is one and is writable for this user"
    if isinstance(cause, OSError):
        return "cannot reach the database; check that it runs, and the host and port in the URL"
    return None


def _sqlite_code(cause: BaseException | None) -> int | None:
    """The primary result code: the low byte of the extended one."""
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return None if code is None else int(code) & 0xFF
    return None
