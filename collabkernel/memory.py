"""Rooms inside this process: ``memory://``, for tests, documentation and trying things out.

One hub a process, on a thread of its own, without a database: rooms are shared by name among all connections here, and
gone with the process. Everything else is the real server.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Coroutine, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

from collabkernel.client.actors import Authors, Origin
from collabkernel.client.blocking_room import LoopThread
from collabkernel.client.past import When
from collabkernel.client.servers import Servers
from collabkernel.client.transport import Link, LinkError
from collabkernel.crdt.clock import ms_from_hlc
from collabkernel.crdt.ids import OpId
from collabkernel.errors import InvalidValueError, TooManyError
from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.server.hub import Connection, Hub
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Role

T = TypeVar("T")

MEMORY_URL = "memory:"
"""``memory://`` and whatever follows name the hub of this process."""


class MemoryServer(NamedTuple):
    """The hub of this process and its thread."""

    thread: LoopThread
    hub: Hub


@cache
def memory_server() -> MemoryServer:
    """The hub of this process, started by the first who asks; a daemon thread, so it ends with the process."""
    thread = LoopThread("collabkernel memory hub")
    hub = Hub(MemoryStorage(), Limits())
    thread.run(hub.start())
    return MemoryServer(thread, hub)


class MemoryLink:
    """A line from a client's event loop to the hub's. Also what the hub sends to: its ``Transport``."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._session: Connection | None = None
        self._buffered_bytes = 0
        self._is_full = False
        self._reason = "closed"

    async def open(self, room_id: str, principal: Principal) -> None:
        """Let the hub make a session.

        Raises:
            InvalidRoomNameError, TooManyError: It will not.
        """
        self._session = await self._ask_hub(self._server.hub.open_session(room_id, principal, _HubSide(self)))

    async def _ask_hub(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._server.thread.loop))

    # -- the client's side

    async def send(self, frame: bytes) -> None:
        """Give the hub one frame; waits while the room is busy."""
        assert self._session is not None, "open it first"
        await self._ask_hub(self._session.receive(frame))

    async def receive(self) -> bytes:
        """The next frame of the hub."""
        frame = await self._inbox.get()
        if frame is None:
            self._inbox.put_nowait(None)
            raise LinkError(f"closed: {self._reason}")
        self._buffered_bytes -= len(frame)
        if self._is_full and self._inbox.empty() and self._session is not None:
            self._is_full = False
            self._server.thread.post(self._session.drained)
        return frame

    async def close(self) -> None:
        """Leave the hub."""
        if self._session is not None:
            session, self._session = self._session, None
            await self._ask_hub(session.close())

    # -- the hub's side, on its thread

    @property
    def buffered_bytes(self) -> int:
        """Frames that the client has not taken yet."""
        return self._buffered_bytes

    def put(self, frame: bytes | None, reason: str = "") -> None:
        """Hand the client a frame, or the end."""
        self._reason = reason or self._reason
        if frame is not None:
            self._buffered_bytes += len(frame)
            self._is_full = self._is_full or self._buffered_bytes > self._server.hub.limits.session_queue_low_bytes
        # The client's loop may have ended without a goodbye; then nobody listens.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._inbox.put_nowait, frame)


class _HubSide:
    """``Transport`` for the hub."""

    def __init__(self, link: MemoryLink) -> None:
        self._link = link

    @property
    def buffered_bytes(self) -> int:
        return self._link.buffered_bytes

    def send(self, frame: bytes) -> None:
        self._link.put(frame)

    def close(self, code: str, reason: str) -> None:
        self._link.put(None, f"{code}: {reason}")


class MemoryConnector:
    """Opens lines to a room of this process."""

    def __init__(self, room_id: str, name: str) -> None:
        """Prepare.

        Args:
            room_id: The room's name.
            name: Who to be there.
        """
        self.servers = Servers(["memory://"], random.Random())
        self._room_id = room_id
        self._principal = Principal(actor=name, name=name, color="", role=Role.WRITER)

    async def open(self) -> Link:
        """A new line to this process's hub."""
        link = MemoryLink(memory_server())
        try:
            await link.open(self._room_id, self._principal)
        except TooManyError as error:
            raise LinkError(str(error), error.retry_after_ms) from error
        return link

    async def ticket(self, origin: str = "") -> dict[str, str]:  # noqa: ARG002  # as Connector has it
        """There is none.

        Raises:
            InvalidValueError: Always.
        """
        raise InvalidValueError("a memory:// room has no address that a browser could open; it goes by the relay")

    async def past(self, when: When) -> bytes:
        """The room as it was."""
        server = memory_server()
        work = server.hub.past.state_at(self._room_id, seq=when.seq, at_ms=when.at_ms)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, server.thread.loop))

    async def authors(self, ops: Sequence[OpId], sites: Sequence[int]) -> Authors:
        """Who made operations, and who writes as sites."""
        server = memory_server()
        work = server.hub.past.authors(self._room_id, ops, sites)
        found = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, server.thread.loop))
        origins = {OpId(row.site, row.counter): Origin(row.seq, ms_from_hlc(row.hlc), row.actor) for row in found.ops}
        return Authors(origins, found.actor_by_site)
