"""The asyncio face of a room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from collabkernel.client.actors import Authors, ask_in_pieces
from collabkernel.client.backoff import Chance
from collabkernel.client.connection import Connection
from collabkernel.client.file_room import QueuedRoom
from collabkernel.client.past import PastRoom, past_room, stored_seq, when_of
from collabkernel.client.queue_file import QueueFile
from collabkernel.client.relay import Relay
from collabkernel.client.replica import Replica
from collabkernel.client.transport import Connector
from collabkernel.crdt.ids import OpId
from collabkernel.errors import CollabKernelError, RemoteProtocolError
from collabkernel.limits import Limits

T = TypeVar("T")
FLUSH_TIMEOUT_S = 10.0
CLOSE_FLUSH_S = 5.0
"""How long leaving a room waits for its last edits to be saved."""


class AsyncRoom(QueuedRoom):
    """A room on the running event loop. ``async with aio.connect(...) as room`` gives one.

    Reading and changing live values never waits; ``flush`` and ``close`` do. All from the loop's own thread.
    """

    def __init__(
        self,
        name: str,
        replica: Replica,
        connector: Connector,
        limits: Limits,
        rng: Chance,
        now_ms: Callable[[], int],
        queue: QueueFile | None = None,
    ) -> None:
        super().__init__(name, replica, limits, now_ms, queue)
        self._connector = connector
        self._limits = limits
        self._connection = Connection(self, connector, limits, rng, now_ms)
        self._relays: set[Relay] = set()

    def _wake(self) -> None:
        self._connection.wake()

    def _on_broken(self, error: RemoteProtocolError) -> None:
        self._connection.broken(error)

    def _task(self) -> object:
        with suppress(RuntimeError):  # no loop runs: this is no task's
            return asyncio.current_task()
        return None

    @property
    def _is_in_batch(self) -> bool:
        return self._depth > 0 and self._editor is self._task()

    async def join(self, timeout_s: float) -> None:
        """Connect, and wait until the room's state is here.

        Raises:
            CollabKernelError: Why that was not possible in time; the room is closed then.
        """
        self._connection.start()
        try:
            await self._connection.wait_live(timeout_s)
        except BaseException:
            await self._shut()
            raise

    async def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Wait until every edit made so far is acknowledged as durable.

        Raises:
            RejectedError: The server refused one of them since the last flush; it is rolled back here.
            ClosedError: The room is closed.
            TimeoutError: The server did not answer in time; the edits stay queued.
            LocalProtocolError: Inside a batch of this task, whose edits are not sent yet.
        """
        self._refuse_in_batch()
        await self._connection.flush(timeout_s)

    async def wait_in_sight(self, timeout_s: float) -> None:
        """Wait until the blocks that are looked at are here; ``Doc.show`` does.

        Raises:
            ClosedError: The room is closed.
            TimeoutError: They did not come in time.
            LocalProtocolError: Inside a batch of this task.
        """
        self._refuse_in_batch()
        await self._connection.wait_in_sight(timeout_s)

    @property
    def seq(self) -> int:
        """The last operation of the room's log that is known here; ``room.at(room.seq)`` has all that was saved."""
        return stored_seq(self.replica)

    async def at(self, when: int | datetime) -> PastRoom:
        """The room as it was, read-only: up to and with a seq of its log, or before what was made after a time.

        Raises:
            InvalidValueError: The log is not as long, or was compacted and no longer goes back as far: the message
                names the nearest seqs that can be shown. A time gives the last state that was kept and made by then.
            CollabKernelError: The server does not answer, or it would cost it too much.
        """
        return past_room(self.name, await self._connector.past(when_of(when)), self._limits, self.actors)

    async def ask_authors(self, ops: Sequence[OpId], sites: Sequence[int], then: Callable[[Authors], T]) -> T:
        """Ask the server who made operations and writes as sites, and give what ``then`` makes of it.

        Raises:
            CollabKernelError: The server does not answer.
        """
        return then(await ask_in_pieces(self._connector.authors, ops, sites))

    @property
    def address(self) -> str:
        """Base URL of the server that this room is at, or ``memory://``."""
        return self._connector.servers.url

    async def browser_ticket(self, origin: str = "") -> dict[str, str]:
        """A fresh one-use ``{"url", "ticket"}`` with which a browser opens its own WebSocket to this room.

        Raises:
            CollabKernelError: The server gives none, or this is a ``memory://`` room.
        """
        return await self._connector.ticket(origin)

    def open_relay(self, on_frame: Callable[[bytes], None], on_close: Callable[[str], None]) -> Relay:
        """A second raw line to this room, for a browser that cannot open its own: frames pass unread."""

        def closed(reason: str) -> None:
            self._relays.discard(relay)
            on_close(reason)

        relay = Relay(self._connector, on_frame, closed)
        self._relays.add(relay)
        relay.start()
        return relay

    async def close(self, flush_s: float = CLOSE_FLUSH_S) -> None:
        """Save what is not saved yet, for at most ``flush_s``, and leave; idempotent."""
        if self.status == "closed":
            return
        if self._is_worth_flushing:
            try:
                await self._connection.flush(flush_s)
            except (TimeoutError, CollabKernelError) as error:
                self._warn_unsaved(error)
        await self._shut()

    async def _shut(self) -> None:
        for relay in tuple(self._relays):
            relay.close()
            await relay.wait_closed()
        await self._connection.close()
        self._close_queue()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
