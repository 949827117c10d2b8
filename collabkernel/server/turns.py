"""So many at once, so many who wait for that, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from collabkernel.errors import TooManyError


class Turns:
    """Lets costly work in, a little of it at a time."""

    def __init__(self, what: str, at_once: int, waiting_max: int, retry_ms: int) -> None:
        """Prepare.

        Args:
            what: What there is too much of, in the plural, for who is told.
            at_once: How many have their turn together.
            waiting_max: How many wait; who comes then is sent away.
            retry_ms: When he may come again.
        """
        self._what = what
        self._free = asyncio.Semaphore(max(1, at_once))
        self._waiting_max = waiting_max
        self._waiting = 0
        self._retry_ms = retry_ms

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it.

        Raises:
            TooManyError: Too many wait already.
        """
        if self._waiting >= self._waiting_max and self._free.locked():
            raise TooManyError(self._what, self._waiting_max, self._retry_ms)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()
