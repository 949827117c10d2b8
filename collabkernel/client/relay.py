"""A second raw line to a room, piped through this process: for a browser that cannot open its own WebSocket.

The peer at the far end says its own Hello and has its own site. Frames are passed on unread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from collabkernel.client.transport import FATAL_ERRORS, Connector, Link, LinkError

QUEUE_FRAMES_MAX = 1024
"""Frames of a browser that wait for the line; more, and the relay closes: the browser connects again and resumes."""


class Relay:
    """One piped line. ``send`` and ``close`` from the loop's own thread."""

    def __init__(
        self, connector: Connector, on_frame: Callable[[bytes], None], on_close: Callable[[str], None]
    ) -> None:
        self._connector = connector
        self._on_frame = on_frame
        self._on_close = on_close
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_FRAMES_MAX)
        self._task: asyncio.Task[None] | None = None
        self._reason = "closed"

    def start(self) -> None:
        """Open the line."""
        self._task = asyncio.create_task(self._run(), name="relay")
        # By callback, because a task that is cancelled before it has begun never runs.
        self._task.add_done_callback(lambda _: self._on_close(self._reason))

    def send(self, frame: bytes) -> None:
        """Pass a frame on to the server."""
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.close("slow-consumer: the server does not take frames as fast as they come")

    def close(self, reason: str = "closed") -> None:
        """Close the line; ``on_close`` is told."""
        self._reason = reason
        if self._task is not None:
            self._task.cancel()

    async def wait_closed(self) -> None:
        """Wait until the line is closed."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            link = await self._connector.open()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send_all(link))
                    group.create_task(self._receive_all(link))
            finally:
                await link.close()
        except* (LinkError, *FATAL_ERRORS) as group_error:
            self._reason = str(group_error.exceptions[0])

    async def _send_all(self, link: Link) -> None:
        while True:
            await link.send(await self._frames.get())

    async def _receive_all(self, link: Link) -> None:
        while True:
            self._on_frame(await link.receive())
