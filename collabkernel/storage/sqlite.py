"""SQLite as a ``Database``: one writer thread and a few reader threads, a connection each, in WAL mode.

A write transaction begins with BEGIN IMMEDIATE: one that reads first and becomes a write half-way would deadlock with
another process. Readers never wait for the writer, nor it for them.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Executable, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from collabkernel.storage.base import Rest
from collabkernel.storage.failures import is_locked
from collabkernel.storage.sqlite_statements import SqliteStatements
from collabkernel.storage.statements import Parameters, Statements, wrapped
from collabkernel.storage.work_thread import WorkThread

BUSY_TIMEOUT_S = 10.0
"""A writer waits this long for another process's transaction, which takes milliseconds."""
READERS = 3
WAL_KEPT_BYTES = 1 << 20
"""What stays of the write-ahead log's file after a checkpoint, for the next commits."""
WAL_SETTLED_S = 3.0
"""Files' times are no finer than 2 s on some file systems: two writes within that may look like one."""
FREE_PAGES_KEPT = 256
"""A megabyte: what is freed is soon written again."""
FREE_PAGES_AT_ONCE = 1000
"""Pages given back in one transaction, in some tens of milliseconds."""

_INCREMENTAL = 2
"""What ``PRAGMA auto_vacuum`` says."""
_PLAIN = "collabkernel_plain"

T = TypeVar("T")


class SqliteDatabase:
    """A file of this machine."""

    def __init__(self, url: URL, durable: bool) -> None:
        self.url = url
        self._durable = durable
        # NORMAL syncs at checkpoints alone: a power cut takes the last commits, and damages nothing.
        # fullfsync: on macOS fsync does not reach the disk without it; elsewhere it is nothing.
        pragmas = (f"synchronous={'FULL' if durable else 'NORMAL'}", f"fullfsync={int(durable)}", "foreign_keys=ON")
        # Before there is anything in the file: later it takes a VACUUM, and until then free pages are used again.
        layout = ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", f"journal_size_limit={WAL_KEPT_BYTES}")
        self._writer = _engine(url, 1, (*layout, *pragmas), "BEGIN IMMEDIATE")
        # For what a power cut may take back. The next commit of the other one syncs all that is before it.
        passing = ("synchronous=NORMAL", *pragmas[1:])  # its checkpoints are for what must last, too
        self._passing = _engine(url, 1, passing, "BEGIN IMMEDIATE")
        self._reader = _engine(url, READERS, (*pragmas, "query_only=ON"), "BEGIN")
        event.listen(self._writer, "connect", self._on_connect)
        self._statements: SqliteStatements | None = None
        self._mark = 0
        self._marked_wal: Hashable = None
        """The write-ahead log when ``_mark`` was asked for."""
        self._writer_thread: WorkThread | None = None
        self._reader_threads: ThreadPoolExecutor | None = None

    async def open(self) -> bool:
        """Make the file, and its folder when there is none, for their owner alone, and connect."""
        self._writer_thread = WorkThread("collabkernel-write")
        self._reader_threads = ThreadPoolExecutor(READERS, "collabkernel-read")
        await self._writer_thread.run(self._make_file)
        deadline_s = asyncio.get_running_loop().time() + BUSY_TIMEOUT_S
        while True:
            try:
                await self._writer_thread.run(lambda: self._writer.connect().close())
                return self._durable
            except SQLAlchemyError as error:
                # The first change to WAL needs the file for itself, and fails at once when another process has it.
                if not is_locked(error) or asyncio.get_running_loop().time() > deadline_s:
                    raise
                await asyncio.sleep(0.01)

    def _on_connect(self, driver: Any, _record: object) -> None:
        """The writer's one connection was made, at the start or again."""
        self._statements = SqliteStatements(driver)

    async def close(self) -> None:
        """Disconnect, and let the threads end."""
        if self._writer_thread is None or self._reader_threads is None:
            return
        # The last connection to close folds the WAL into the file; only the writer may do that.
        await self._reading(self._reader.dispose)
        await self._writing(self._passing.dispose)
        await self._writing(self._writer.dispose)
        self._reader_threads.shutdown(wait=False)
        self._writer_thread.end()
        self._reader_threads = self._writer_thread = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that reads."""

        def run() -> T:
            with self._reader.connect() as connection:
                return work(connection)

        return await self._reading(run)

    async def write(self, work: Callable[[Connection], T], *, is_long: bool = False, is_passing: bool = False) -> T:
        """Run a function in a transaction."""
        del is_long  # all may be
        engine = self._passing if is_passing else self._writer

        def run() -> T:
            with engine.begin() as connection:
                return work(connection)

        return await self._writing(run)

    async def change(self, statement: Executable, parameters: Parameters) -> int:
        """Run one statement, past SQLAlchemy."""
        return await self._writing(partial(self._change, statement, parameters))

    def _change(self, statement: Executable, parameters: Parameters) -> int:
        assert self._statements is not None, "open() has connected"
        return self._statements.change(statement, parameters)

    async def append(self, work: Callable[[Statements], T]) -> T:
        """Run the append in such a transaction, on the same connection, past SQLAlchemy."""
        return await self._writing(partial(self._append, work))

    def _append(self, work: Callable[[Statements], T]) -> T:
        assert self._statements is not None, "open() has connected"
        return self._statements.transact(work)

    async def tidy(self, rest: Rest | None = None) -> None:
        """Give free pages back, in a file that was made for it, and fold the write-ahead log into the file."""
        begun_s = time.monotonic()
        while await self._writing(self._give_back):
            if rest is not None:
                await rest(time.monotonic() - begun_s)
            begun_s = time.monotonic()
        await self._writing(self._checkpoint)

    async def change_mark(self) -> Hashable:
        """SQLite's count of other connections' commits; this storage's own do not change it, but for passing ones.

        Every commit writes to the write-ahead log: while that is as it was, the writer's thread is left alone, which
        an idle server would wake five times a second.
        """
        seen = self._settled_wal()
        if seen is None or seen != self._marked_wal:
            self._mark = await self._writing(self._data_version)
            self._marked_wal = seen
        return self._mark

    def _settled_wal(self) -> Hashable:
        """What tells the write-ahead log from what it was; None while a write now might leave that as it is."""
        try:
            found = os.stat(f"{self.url.database}-wal")
        except OSError:
            return None
        if time.time() - found.st_mtime < WAL_SETTLED_S:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _data_version(self) -> int:
        assert self._statements is not None, "open() has connected"
        return self._statements.data_version()

    def _plain(self) -> Connection:
        """The writer's connection, without a transaction."""
        return self._writer.connect().execution_options(**{_PLAIN: True})

    def _give_back(self) -> bool:
        """Shorten the file by some of its free pages; whether there are more."""
        with self._plain() as connection:
            mode = connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one()
            free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
            surplus = free - FREE_PAGES_KEPT
            if surplus <= 0 or mode != _INCREMENTAL:
                return False
            _give_pages_back(connection, min(surplus, FREE_PAGES_AT_ONCE))
            return surplus > FREE_PAGES_AT_ONCE

    def _checkpoint(self) -> None:
        """Empty the write-ahead log; a reader of it, who would have to be waited for, puts it off to the next time."""
        with self._plain() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
            try:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")

    def _reading(self, run: Callable[[], T]) -> asyncio.Future[T]:
        assert self._reader_threads is not None, "open() comes first"
        return asyncio.get_running_loop().run_in_executor(self._reader_threads, run)

    def _writing(self, run: Callable[[], T]) -> asyncio.Future[T]:
        assert self._writer_thread is not None, "open() comes first"
        return self._writer_thread.run(run)

    def _make_file(self) -> None:
        path = Path(str(self.url.database))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _give_pages_back(connection: Connection, pages: int) -> None:
    """SQLite does it page by page, each a row without columns, of which only a script takes more than the first."""
    script = f"BEGIN IMMEDIATE; PRAGMA incremental_vacuum({pages}); COMMIT"
    driver: Any = connection.connection.driver_connection
    try:
        driver.executescript(script).close()
    except sqlite3.Error as error:
        driver.rollback()
        raise wrapped(script, error) from error


def _engine(url: URL, connections: int, pragmas: tuple[str, ...], begin: str) -> Engine:
    """SQLAlchemy's recipe: sqlite3 opens no transactions by itself, the engine's ``begin`` event does."""
    engine = create_engine(url, pool_size=connections, max_overflow=0, connect_args={"timeout": BUSY_TIMEOUT_S})

    def on_connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None
        for pragma in pragmas:
            dbapi_connection.execute(f"PRAGMA {pragma}").close()

    def on_begin(connection: Connection) -> None:
        if not connection.get_execution_options().get(_PLAIN):
            connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine
