"""PostgreSQL as a ``Database``: SQLAlchemy's asyncio engine on asyncpg.

Appends have a thread, a loop and a connection of their own. On the server's loop each answer waited for all else that
this has to do, 50 to 400 ms on a busy machine; and one that is no plain append takes six of them, during which it keeps
the other servers from its rooms. The plain ones, of envelopes that are what their sites send next, take one: the
database has a function for them (``Statements.append_next``), and holds its locks for as long as it runs alone.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Executable, event, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from collabkernel.storage.base import Rest
from collabkernel.storage.postgres_statements import PostgresStatements
from collabkernel.storage.statements import Compiler, Parameters, Statements
from collabkernel.storage.work_thread import WorkThread

CONNECTIONS = 10
POOL_TIMEOUT_S = 30.0
"""A caller waits this long for a free connection."""
ANSWER_S = 10.0
"""A transaction that has not ended by then is given up, with its connection: a full batch takes tens of milliseconds,
and behind a network that swallows what is sent TCP would wait for a quarter of an hour."""
LONG_S = 600.0
"""... but for those that delete a room, drop what was compacted, or bring the schema up to date."""
LOCK_TIMEOUT_MS = 8_000
"""Another server's transaction takes milliseconds. Who waits longer for its lock is told that the lock is held, which
is one room's trouble, before he would take it for a database that does not answer."""
GOODBYE_S = 1.0
"""A server that is stopped waits no longer for a database that does not answer."""
IDLE_IN_TRANSACTION_MS = 5_000
"""The server ends a transaction whose client says nothing for so long: one that stands still, or has lost its network,
must not keep the others from the rooms that it has locked."""

_MADE_S = "made_s"
_log = logging.getLogger(__name__)

T = TypeVar("T")


class PostgresDatabase:
    """A database of a PostgreSQL server."""

    def __init__(self, url: URL, durable: bool) -> None:
        self.url = url
        settings = {
            "application_name": "collabkernel",
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
        }
        if not durable:
            settings["synchronous_commit"] = "off"
        connecting = {"server_settings": settings, "timeout": ANSWER_S}
        self._writer = create_async_engine(
            url, pool_size=CONNECTIONS, pool_timeout=POOL_TIMEOUT_S, connect_args=connecting
        )
        self._silent_s = 0.0
        """When last no answer came: who connected before that is not asked again."""
        self._appender = create_async_engine(url, pool_size=1, max_overflow=0, connect_args=connecting)
        for engine in (self._writer.sync_engine, self._appender.sync_engine):
            event.listen(engine, "connect", _note_age)
            event.listen(engine, "checkout", self._check_age)
            event.listen(engine, "close", self._close_dead)
        self._append_thread: WorkThread | None = None
        self._append_loop: asyncio.AbstractEventLoop | None = None
        self._append_connection: AsyncConnection | None = None
        """Kept while it does what it is asked: to take it from its pool and to give it back is a third of an append."""
        self._compiler = Compiler(self._appender.dialect)
        # A snapshot's manifest and blobs are read by two statements, which must see the same moment.
        self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ")
        self._changer = self._writer.execution_options(isolation_level="AUTOCOMMIT")

    async def open(self) -> bool:
        """Connect; the server's own settings say whether a commit waits for the disk."""
        self._append_thread, self._append_loop = WorkThread("collabkernel-append"), asyncio.new_event_loop()
        return await self.read(_is_durable)

    async def close(self) -> None:
        """Disconnect, when what is appended is."""
        await self._leave(self._writer)
        if self._append_thread is not None and self._append_loop is not None:
            await self._appending(self._end_appends)
            self._append_thread.end()
            self._append_loop.close()
            self._append_thread = self._append_loop = None

    async def _leave(self, engine: AsyncEngine) -> None:
        try:
            async with asyncio.timeout(GOODBYE_S):
                await engine.dispose()
        except TimeoutError:
            _log.info("%s does not answer; its connections are left as they are", self.url.render_as_string())

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that reads; once more when the connection turns out to have been lost while it was idle."""
        try:
            return await self._read(work)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        return await self._read(work)

    async def write(self, work: Callable[[Connection], T], *, is_long: bool = False, is_passing: bool = False) -> T:
        """Run a function in a transaction; never twice, since what was lost may be the answer to its commit."""
        del is_passing  # commits at one moment share the wait for the disk, and to ask for none is a round trip
        async with self._within(LONG_S if is_long else ANSWER_S), self._writer.begin() as connection:
            return await connection.run_sync(work)

    async def change(self, statement: Executable, parameters: Parameters) -> int:
        """Run one statement, in one round trip; never twice, either."""
        async with self._within(ANSWER_S), self._changer.connect() as connection:
            return (await connection.execute(statement, parameters)).rowcount

    async def append(self, work: Callable[[Statements], T]) -> T:
        """Run the append in such a transaction, to its end."""
        return await self._appending(lambda: self._append(work))

    def _appending(self, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Future[T]:
        """Run it in the appends' thread, on their loop, which runs while there is one."""
        assert self._append_thread is not None, "open() comes first"
        assert self._append_loop is not None, "open() comes first"
        loop = self._append_loop
        return self._append_thread.run(lambda: loop.run_until_complete(work()))

    async def _append(self, work: Callable[[Statements], T]) -> T:
        async with self._within(ANSWER_S):
            connection = self._append_connection or await self._appender.connect()
            self._append_connection = None
            try:
                result = await connection.run_sync(lambda on: PostgresStatements(on, self._compiler).transact(work))
            except BaseException:
                await connection.close()
                raise
        self._append_connection = connection
        return result

    async def _end_appends(self) -> None:
        connection, self._append_connection = self._append_connection, None
        if connection is not None:
            await connection.close()
        await self._leave(self._appender)

    async def tidy(self, rest: Rest | None = None) -> None:
        """Nothing: the server's autovacuum does it."""
        del rest

    async def change_mark(self) -> Hashable:
        """Which transactions are visible."""
        return await self.read(_visible_transactions)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        async with self._within(ANSWER_S), self._reader.connect() as connection:
            return await connection.run_sync(work)

    @asynccontextmanager
    async def _within(self, seconds: float) -> AsyncIterator[None]:
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            self._silent_s = max(self._silent_s, began_s)
            raise TimeoutError(f"no answer in {seconds:g} s") from error

    def _is_dead(self, record: ConnectionPoolEntry) -> bool:
        return float(record.info.get(_MADE_S, math.inf)) < self._silent_s

    def _check_age(self, _dbapi: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Take no connection that is as old as one that did not answer: each would be waited for."""
        if self._is_dead(record):
            raise InvalidatePoolError

    def _close_dead(self, dbapi: Any, record: ConnectionPoolEntry) -> None:
        """Take no leave of the dead: nobody would say Bye."""
        if self._is_dead(record):
            dbapi.driver_connection.terminate()


def _note_age(_dbapi: object, record: ConnectionPoolEntry) -> None:
    record.info[_MADE_S] = time.monotonic()


def _visible_transactions(connection: Connection) -> str:
    return str(connection.scalar(text("SELECT CAST(pg_current_snapshot() AS text)")))


def _is_durable(connection: Connection) -> bool:
    fsync, commit = (connection.scalar(text(f"SHOW {name}")) for name in ("fsync", "synchronous_commit"))
    return bool(fsync == "on" and commit != "off")
