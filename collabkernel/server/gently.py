"""Folding a log beside the rooms that are at work: in short pieces of a thread, and with rests between them.

Python runs one thread at a time. A thread that works through a minute of a busy room's log, some seconds of it, keeps
the event loop from half of what it does, and everybody's edits are late; a piece of a few milliseconds nobody notices.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from collabkernel.room.fold import Fold
from collabkernel.server.compaction import Allowance, timed
from collabkernel.storage.base import OpRow

PIECE_ROWS = 200
"""Operations that are folded at once: about 3 ms."""
PIECE_S = 0.003
"""So long texts are brought up to date at once. Each takes a part of a millisecond, or some if it is long or much was
typed in it; compiled code keeps Python's lock all the while."""
BUSY_PARTS = 4
"""With a tenth of a core for a snapshot in place of this, the acks of a thousand editors took twice as long."""
WAITING_ROWS = 50_000
"""Operations after which texts are brought up to date: until then their updates are held, some 300 bytes each."""


class Gently:
    """One server's share of a core for it: a fourth of that while it has no time, for whoever edits goes first."""

    def __init__(self, cpu_percent: int, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._allowance = Allowance(cpu_percent)
        self._is_busy = is_busy
        self._turns = asyncio.Lock()

    def turn(self) -> AbstractAsyncContextManager[None]:
        """One room at a time: each is a second copy in memory."""
        return self._turns

    async def follow(self, fold: Fold, chunks: AsyncIterator[Sequence[OpRow]]) -> None:
        """Fold rows that follow a state, and settle it."""
        waiting_rows = 0
        async for rows in chunks:
            for start in range(0, len(rows), PIECE_ROWS):
                await self._work(partial(fold.apply_rows, rows[start : start + PIECE_ROWS]))
            waiting_rows += len(rows)
            if waiting_rows >= WAITING_ROWS:
                waiting_rows = 0
                await self._settle(fold)
        await self._settle(fold)

    async def _settle(self, fold: Fold) -> None:
        settling = fold.settling()
        while await self._work(partial(_step, settling)):
            pass

    async def _work(self, function: Callable[[], object]) -> object:
        """Do a piece in a thread, and rest for it."""
        result, cpu_s = await asyncio.to_thread(timed, function)
        self._allowance.spend(cpu_s * (BUSY_PARTS if self._is_busy() else 1), time.monotonic())
        await asyncio.sleep(self._allowance.rest_s(time.monotonic()))
        return result


def _step(settling: Iterator[None]) -> bool:
    """Whether there is more."""
    until_s = time.perf_counter() + PIECE_S
    return any(time.perf_counter() > until_s for _ in settling)
