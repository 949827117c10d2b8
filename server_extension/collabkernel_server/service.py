"""The hub of one server process, with what its handlers share: the kernels' credential, the open sockets."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from collabkernel.errors import InvalidRoomNameError, ServerStoppingError, StorageError
from collabkernel.limits import UPGRADES_AT_ONCE, Limits
from collabkernel.room.names import check_room_name
from collabkernel.server.hub import Hub
from collabkernel_server.credentials import KernelCredential
from collabkernel_server.heap import keep_little
from collabkernel_server.transport import Pushes
from collabkernel_server.trickle import Trickle

START_RETRY_MS = 1000
"""A hub that would not start is not tried again before this, so that a flood of requests cannot hammer the database."""

CLOSE_GRACE_S = 0.5
"""Peers answer a close within a round trip; one that does not by then (a sleeping laptop) does not hold up the exit."""


class OpenSocket(Protocol):
    """What the service needs of a WebSocket handler."""

    def shut(self) -> None:
        """Close it because the server stops."""


class RoomService:
    """Starts the hub when first needed, and stops it once, with everything flushed and every socket closed."""

    def __init__(
        self,
        make_hub: Callable[[], Hub],
        limits: Limits,
        credential: KernelCredential,
        room_name_pattern: str,
        ping_interval_s: float,
        log: logging.Logger | logging.LoggerAdapter[Any],
        start_retry_ms: int = START_RETRY_MS,
    ) -> None:
        self.limits = limits
        self.credential = credential
        self.ping_interval_s = ping_interval_s
        self.pushes = Pushes()
        self.upgrades = Trickle(UPGRADES_AT_ONCE)
        self._make_hub = make_hub
        self._room_name = re.compile(room_name_pattern)
        self._log = log
        self._start_retry_ms = start_retry_ms
        self._hub: Hub | None = None
        self._starting = asyncio.Lock()
        self._failure: tuple[float, StorageError] | None = None
        self._is_stopping = False
        self._sockets: set[OpenSocket] = set()
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def session_count(self) -> int:
        """Open WebSockets."""
        return len(self._sockets)

    def check_room_name(self, room_id: str) -> None:
        """Refuse a name that the format or this server's own pattern does not allow.

        Raises:
            InvalidRoomNameError: If so.
        """
        check_room_name(room_id)
        if not self._room_name.fullmatch(room_id):
            raise InvalidRoomNameError(f"this server allows only room names that match {self._room_name.pattern}")

    async def hub(self) -> Hub:
        """The running hub, started by the first who asks.

        Raises:
            ServerStoppingError: If the server is shutting down.
            StorageError: If the database cannot be opened; it is tried again later.
        """
        if self._is_stopping:
            raise ServerStoppingError("the server is shutting down")
        if self._hub is not None:
            return self._hub
        async with self._starting:
            if self._hub is None:
                await self._start()
        if self._is_stopping:
            raise ServerStoppingError("the server is shutting down")
        assert self._hub is not None
        return self._hub

    async def _start(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._failure is not None and now_s < self._failure[0]:
            raise self._failure[1]
        keep_little()
        try:
            hub = self._make_hub()
            await hub.start()
        except StorageError as error:
            error.retry_after_ms = self._start_retry_ms
            self._failure = (now_s + self._start_retry_ms / 1000, error)
            raise
        self._failure = None
        self._hub = hub

    def opened(self, socket: OpenSocket) -> None:
        """A WebSocket is open, and waited for at the stop."""
        self._sockets.add(socket)
        self._all_closed.clear()

    def closed(self, socket: OpenSocket) -> None:
        """It is gone."""
        self._sockets.discard(socket)
        if not self._sockets:
            self._all_closed.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something short that nobody waits for before the stop; its failure is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("collabkernel: closing a session failed", exc_info=error)

    async def stop(self) -> None:
        """Flush, say goodbye, close every socket, within ``limits.shutdown_ms``."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self.credential.withdraw()
        try:
            async with asyncio.timeout(self.limits.shutdown_ms / 1000):
                async with self._starting:  # a start under way ends first, so that what it opened is closed
                    hub = self._hub
                if hub is not None:
                    await hub.stop()
                # The hub has closed its sessions' sockets; one that was refused or is still greeting is closed here.
                for socket in tuple(self._sockets):
                    socket.shut()
                await asyncio.wait_for(self._all_closed.wait(), CLOSE_GRACE_S)
                if self._tasks:
                    await asyncio.wait(tuple(self._tasks))
        except TimeoutError:
            self._log.warning("collabkernel: %d sockets did not answer their close in time", len(self._sockets))
