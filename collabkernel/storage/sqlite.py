"""SQLite as a ``Database``: one writer thread and a few reader threads, a connection each, in WAL mode.

A write transaction begins with BEGIN IMMEDIATE: one that reads first and becomes a write half-way would deadlock with
another process. Readers never wait for the writer, nor it for them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from collabkernel.storage.failures import is_locked

BUSY_TIMEOUT_S = 10.0
"""A writer waits this long for another process's transaction, which takes milliseconds."""
READERS = 3

T = TypeVar("T")


class SqliteDatabase:
    """A file of this machine."""

    def __init__(self, url: URL, durable: bool) -> None:
        self.url = url
        self._durable = durable
        # NORMAL syncs at checkpoints alone: a power cut takes the last commits, and damages nothing.
        # fullfsync: on macOS fsync does not reach the disk without it; elsewhere it is nothing.
        pragmas = (f"synchronous={'FULL' if durable else 'NORMAL'}", f"fullfsync={int(durable)}", "foreign_keys=ON")
        self._writer = _engine(url, 1, ("journal_mode=WAL", *pragmas), "BEGIN IMMEDIATE")
        self._reader = _engine(url, READERS, (*pragmas, "query_only=ON"), "BEGIN")
        self._writer_thread: ThreadPoolExecutor | None = None
        self._reader_threads: ThreadPoolExecutor | None = None

    async def open(self) -> bool:
        """Make the file, readable by its owner alone, and connect."""
        self._writer_thread = ThreadPoolExecutor(1, "collabkernel-write")
        self._reader_threads = ThreadPoolExecutor(READERS, "collabkernel-read")
        await self._in(self._writer_thread, self._make_file)
        deadline_s = asyncio.get_running_loop().time() + BUSY_TIMEOUT_S
        while True:
            try:
                await self._in(self._writer_thread, lambda: self._writer.connect().close())
                return self._durable
            except SQLAlchemyError as error:
                # The first change to WAL needs the file for itself, and fails at once when another process has it.
                if not is_locked(error) or asyncio.get_running_loop().time() > deadline_s:
                    raise
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Disconnect, and let the threads end."""
        if self._writer_thread is None or self._reader_threads is None:
            return
        # The last connection to close folds the WAL into the file; only the writer may do that.
        await self._in(self._reader_threads, self._reader.dispose)
        await self._in(self._writer_thread, self._writer.dispose)
        self._reader_threads.shutdown(wait=False)
        self._writer_thread.shutdown(wait=False)
        self._reader_threads = self._writer_thread = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that reads."""

        def run() -> T:
            with self._reader.connect() as connection:
                return work(connection)

        return await self._in(self._reader_threads, run)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in a transaction."""

        def run() -> T:
            with self._writer.begin() as connection:
                return work(connection)

        return await self._in(self._writer_thread, run)

    async def _in(self, threads: ThreadPoolExecutor | None, run: Callable[[], T]) -> T:
        assert threads is not None, "open() comes first"
        return await asyncio.get_running_loop().run_in_executor(threads, run)

    def _make_file(self) -> None:
        path = Path(str(self.url.database))
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _engine(url: URL, connections: int, pragmas: tuple[str, ...], begin: str) -> Engine:
    """SQLAlchemy's recipe: sqlite3 opens no transactions by itself, the engine's ``begin`` event does."""
    engine = create_engine(url, pool_size=connections, max_overflow=0, connect_args={"timeout": BUSY_TIMEOUT_S})

    def on_connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None
        for pragma in pragmas:
            dbapi_connection.execute(f"PRAGMA {pragma}").close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine
