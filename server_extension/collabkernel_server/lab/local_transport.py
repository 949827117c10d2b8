"""Frames from a room to a client in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from collabkernel.server.flag import Flag

log = logging.getLogger(__name__)

GATHER_S = 0.2
"""Frames are looked at no more often than this, all that have come at once, unless somebody waits for what is in them.
Of 20 edits a second a replica takes in 5 bundles: a third of the work."""
GATHER_BYTES = 256 << 10
"""... nor when there is so much of them."""
TAKE_BYTES = 64 << 10
"""About what is taken in before others of this event loop have their turn."""


class LocalTransport:
    """Keeps frames until the client takes them; the room holds back when too much waits here."""

    def __init__(self, high_bytes: int, low_bytes: int, is_followed: Flag | None = None) -> None:
        self._high_bytes = high_bytes
        self._low_bytes = low_bytes
        self._frames: list[bytes] = []
        self._has_news = Flag()
        self._is_urgent = Flag()
        self._is_followed = is_followed or Flag()
        self._taken_at_s = 0.0
        self._is_over = False
        self.buffered_bytes = 0
        self.close_code = ""
        """Why the room closed it; empty while it is open."""
        self.on_drained: Callable[[], None] | None = None

    def send(self, frame: bytes) -> None:
        """Take a frame of the room."""
        if self.close_code:
            return
        self._frames.append(frame)
        self.buffered_bytes += len(frame)
        self._is_over = self._is_over or self.buffered_bytes > self._high_bytes
        self._has_news.set()
        if self.buffered_bytes > GATHER_BYTES:
            self._is_urgent.set()

    def close(self, code: str, reason: str) -> None:
        """The room is done with this client."""
        log.debug("a room closed its client in this process: %s: %s", code, reason)
        self.close_code = self.close_code or code
        self._has_news.set()
        self._is_urgent.set()

    def hurry(self) -> None:
        """Somebody waits for what is in the frames, until ``rest``."""
        self._is_urgent.set()

    def rest(self) -> None:
        """Nobody waits any more."""
        if not self.close_code:
            self._is_urgent.clear()

    async def wait(self) -> bool:
        """Wait until frames are there to be taken, and have gathered for a while; False after the last one."""
        while not self._frames:
            if self.close_code:
                return False
            self._has_news.clear()
            await self._has_news.wait()
        left_s = self._taken_at_s + GATHER_S - asyncio.get_running_loop().time()
        if left_s > 0 and not (self._is_urgent.is_set() or self._is_followed.is_set()):
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._is_urgent.wait()
        return True

    def take(self) -> tuple[list[bytes], bool]:
        """The next frames, and whether more are left."""
        count = size_bytes = 0
        while count < len(self._frames) and size_bytes < TAKE_BYTES:
            size_bytes += len(self._frames[count])
            count += 1
        frames, self._frames = self._frames[:count], self._frames[count:]
        self._taken_at_s = asyncio.get_running_loop().time()
        self.buffered_bytes -= size_bytes
        if self._is_over and self.buffered_bytes <= self._low_bytes:
            self._is_over = False
            if self.on_drained is not None:
                self.on_drained()
        return frames, bool(self._frames)
