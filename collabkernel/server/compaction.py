"""Keeping documents' logs short: when a server may work on it, and what of a log is dropped when.

A document's snapshot is checked against what it replaces before it is written (``crdt.yjs.squash``), so the log below
it is needed only by servers that are a moment behind: it stays for ``Limits.compact_grace_ms`` where there may be any.
What is dropped is read back from the snapshot first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from collabkernel.errors import RoomNotFoundError
from collabkernel.limits import Limits
from collabkernel.storage.base import Storage

log = logging.getLogger(__name__)

DROP_S, DROP_S_PER_ROW = 5e-3, 12e-6
"""What dropping costs of a processor, and each operation of it, about: the database does it, and does not tell."""

T = TypeVar("T")


def timed(function: Callable[[], T]) -> tuple[T, float]:
    """What a function returns, and the seconds of the processor that it took in this thread."""
    started_s = time.thread_time()
    return function(), time.thread_time() - started_s


class Allowance:
    """How long to rest after work, so that all of it stays under a share of one core. A plain function of its past."""

    __slots__ = ("_rest_per_s", "_until_s")

    def __init__(self, cpu_percent: int) -> None:
        self._rest_per_s = (100 - cpu_percent) / cpu_percent
        self._until_s = 0.0

    def spend(self, cpu_s: float, now_s: float) -> None:
        """So much was worked, up to now."""
        self._until_s = max(self._until_s, now_s) + cpu_s * self._rest_per_s

    def rest_s(self, now_s: float) -> float:
        """How long to rest from now on."""
        return max(0.0, self._until_s - now_s)


class Drops:
    """What is to be dropped of which room's log, and when. A plain function of its past."""

    __slots__ = ("_grace_ms", "_pending")

    def __init__(self, grace_ms: int) -> None:
        self._grace_ms = grace_ms
        self._pending: dict[str, list[tuple[int, int]]] = {}
        """By room: (when, up to which seq), both rising; no more than a room has snapshots in the grace."""

    def add(self, room_id: str, upto_seq: int, now_ms: int) -> None:
        """A snapshot was written at a seq."""
        self._pending.setdefault(room_id, []).append((now_ms + self._grace_ms, upto_seq))

    def due_ms(self) -> int | None:
        """When the next is due."""
        return min([pending[0][0] for pending in self._pending.values()], default=None)

    def take_due(self, now_ms: int) -> list[tuple[str, int]]:
        """Rooms and the seqs up to which their logs may go by now."""
        due = []
        for room_id, pending in list(self._pending.items()):
            seqs = [seq for at_ms, seq in pending if at_ms <= now_ms]
            if seqs:
                due.append((room_id, max(seqs)))
                del pending[: len(seqs)]
                if not pending:
                    del self._pending[room_id]
        return due


class Compaction:
    """One server's work on its documents' logs: one at a time, in threads, and under ``Limits.compact_cpu_percent``."""

    def __init__(self, storage: Storage, limits: Limits, now_ms: Callable[[], int], has_peers: bool) -> None:
        self._storage = storage
        self._now_ms = now_ms
        self._allowance = Allowance(limits.compact_cpu_percent)
        self._drops = Drops(limits.compact_grace_ms if has_peers else 0)
        self._turns = asyncio.Lock()
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until it is one's turn to work, with ``work``."""
        async with self._turns:
            await _within(self._allowance.rest_s(time.monotonic()), self._stopping)
            yield

    async def work(self, function: Callable[[], T], weight: int = 1) -> T:
        """Do something in a thread, and have what it takes of the processor counted so many times. In a turn."""
        result, cpu_s = await asyncio.to_thread(timed, function)
        self.spend(cpu_s * weight)
        return result

    def spend(self, cpu_s: float) -> None:
        """Count what was done elsewhere, such as in the database. In a turn."""
        self._allowance.spend(cpu_s, time.monotonic())

    async def rest(self, took_s: float) -> None:
        """Count what the database took, or a lock was waited for, and rest for it. Not in a turn."""
        self.spend(took_s)
        async with self.turn():
            pass

    def drop_below(self, room_id: str, snapshot_seq: int) -> None:
        """A checked snapshot is there: the log below goes when no server can be so far behind."""
        self._drops.add(room_id, snapshot_seq, self._now_ms())
        self._news.set()

    async def run(self) -> None:
        """Drop what is due, until ``stop``; then what is left, when it is due."""
        while not self._stopping.is_set() or self._drops.due_ms() is not None:
            await self._wait()
            for room_id, upto_seq in self._drops.take_due(self._now_ms()):
                async with self.turn():
                    await self._drop(room_id, upto_seq)

    async def _wait(self) -> None:
        """Wait for what is new, or is due next."""
        due_ms = self._drops.due_ms()
        delay_s = None if due_ms is None else max(0, due_ms - self._now_ms()) / 1000
        await _within(delay_s, self._news)
        self._news.clear()

    def stop(self) -> None:
        """Rest no more, and end when nothing is left to be dropped: within the grace."""
        self._stopping.set()
        self._news.set()

    async def _drop(self, room_id: str, upto_seq: int) -> None:
        try:
            snapshot = await self._storage.latest_snapshot(room_id)  # it raises when the snapshot is damaged
            if snapshot is None or snapshot.seq < upto_seq:
                return  # another room of that name by now
            count = await self._storage.drop_ops(room_id, upto_seq)
        except RoomNotFoundError:
            return
        except Exception:  # the edge of a task that works for all documents
            log.exception("The log of document %s stays as long as it is, for now", room_id)
            return
        self.spend(DROP_S + count * DROP_S_PER_ROW)
        log.debug("%d operations of document %s were dropped, up to %d", count, room_id, upto_seq)


async def _within(time_s: float | None, event: asyncio.Event) -> None:
    """Wait for an event, but not for longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(time_s):
            await event.wait()
