"""Turns a database URL into engines: one that writes, one that reads, and how durable they are.

SQLite: one writer connection, whose transactions begin with BEGIN IMMEDIATE (a read that becomes a write half-way would
deadlock with another process), and a few readers, each with a snapshot of its own (WAL). PostgreSQL: one pool for both.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from collabkernel.errors import StorageError
from collabkernel.storage.failures import is_locked, missing_driver

BUSY_TIMEOUT_S = 10.0
"""A writer waits this long for another process's transaction, which takes milliseconds."""
POOL_TIMEOUT_S = 30.0
"""A caller waits this long for a free connection."""
SQLITE_READERS = 3
POSTGRES_CONNECTIONS = 10

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+pysqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
}


@dataclass(frozen=True, slots=True)
class Engines:
    """A database, as a storage uses it."""

    url: URL
    writer: AsyncEngine
    reader: AsyncEngine

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self.url.get_backend_name() == "sqlite"

    async def dispose(self) -> None:
        """Close every connection."""
        await self.reader.dispose()
        await self.writer.dispose()


def parse_url(url: str) -> URL:
    """The URL with its asynchronous driver.

    Raises:
        StorageError: If it names no database that we know.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageError(f"{url!r} is no database URL; write sqlite:///FILE or postgresql://HOST/NAME") from None
    parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed.drivername == "sqlite+aiosqlite" and parsed.database in (None, "", ":memory:"):
        raise StorageError(f"{url!r} names no file; write sqlite:///FILE, or memory:// for rooms that need not last")
    if parsed.drivername == "postgresql+asyncpg" and "sslmode" in parsed.query:
        # libpq's word; asyncpg calls it ssl.
        query = dict(parsed.query)
        query["ssl"] = query.pop("sslmode")
        parsed = parsed.set(query=query)
    return parsed


def make_engines(url: URL, durable: bool) -> Engines:
    """Engines for a URL of ``parse_url``; nothing is connected yet.

    Raises:
        StorageError: If the driver is unknown or not installed.
    """
    try:
        if url.get_backend_name() == "sqlite":
            return _sqlite_engines(url, durable)
        return _postgres_engines(url, durable)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise missing_driver(url, error) from error


async def prepare_file(engines: Engines) -> None:
    """Make a SQLite file, readable by its owner alone, and connect for the first time.

    The change to WAL needs the file for itself and does not wait for it, so it is tried until the timeout.
    """
    path = Path(str(engines.url.database))
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    deadline = asyncio.get_running_loop().time() + BUSY_TIMEOUT_S
    while True:
        try:
            async with engines.writer.connect():
                return
        except SQLAlchemyError as error:
            if not is_locked(error) or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.01)


def postgres_is_durable(connection: Connection) -> bool:
    """Whether a commit there waits for the disk: the server's own settings decide."""
    fsync, commit = (connection.scalar(text(f"SHOW {name}")) for name in ("fsync", "synchronous_commit"))
    return bool(fsync == "on" and commit != "off")


def _sqlite_engines(url: URL, durable: bool) -> Engines:
    common: dict[str, Any] = {
        "connect_args": {"timeout": BUSY_TIMEOUT_S},
        "pool_timeout": POOL_TIMEOUT_S,
        "max_overflow": 0,
    }
    writer = create_async_engine(url, pool_size=1, **common)
    reader = create_async_engine(url, pool_size=SQLITE_READERS, **common)
    # NORMAL syncs at checkpoints alone: a power cut takes the last commits, and damages nothing.
    synchronous = "FULL" if durable else "NORMAL"
    # fullfsync: on macOS fsync does not reach the disk without it; elsewhere it is nothing.
    pragmas = [f"synchronous={synchronous}", f"fullfsync={int(durable)}", "foreign_keys=ON"]
    _listen(writer, ["journal_mode=WAL", *pragmas], "BEGIN IMMEDIATE")
    _listen(reader, [*pragmas, "query_only=ON"], "BEGIN")
    return Engines(url, writer, reader)


def _listen(engine: AsyncEngine, pragmas: list[str], begin: str) -> None:
    """SQLAlchemy's recipe: sqlite3 opens no transactions by itself, the engine's ``begin`` event does."""

    def on_connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)


def _postgres_engines(url: URL, durable: bool) -> Engines:
    settings = {"application_name": "collabkernel"}
    if not durable:
        settings["synchronous_commit"] = "off"
    writer = create_async_engine(
        url,
        pool_size=POSTGRES_CONNECTIONS,
        pool_timeout=POOL_TIMEOUT_S,
        connect_args={"server_settings": settings},
    )
    # A snapshot's manifest and blobs are read by two statements, which must see the same moment.
    return Engines(url, writer, writer.execution_options(isolation_level="REPEATABLE READ"))
