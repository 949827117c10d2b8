"""Reading a room back: loading it, catching up a session, and writing its snapshots beside its task."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence

from collabkernel.crdt.ids import OpId
from collabkernel.errors import StorageError
from collabkernel.room.fold import LIVE, Fold, part_of_rows
from collabkernel.storage.base import OpRow, SnapshotRow, Storage
from collabkernel.wire.frames import snapshot_part

log = logging.getLogger(__name__)

CATCH_UPS_MAX = 16
"""Catch-ups kept for joiners who come together, over all rooms: 1,000 of them at once ask for a handful of seqs."""
READS_AT_ONCE = 4
"""Catch-ups that are read at the same time: a thousand sessions behind are no thousand chunks in memory."""
CHUNK_BYTES = 4 << 20
"""About what is read of a log at once, and what a frame of a catch-up has at most, but for one operation more."""
STRETCH_ROWS = 5000
"""Operations in a frame of a catch-up."""
WINDOW_ROWS_MIN, WINDOW_ROWS_MAX = 256, 5000
"""Rows that are asked for at once, by what those before them took."""
ROWS_INLINE_MAX = 500
"""Fewer rows are folded on the loop, in about 5 ms; more in a thread, while other rooms go on."""


def _apply(fold: Fold, rows: Sequence[OpRow]) -> None:
    """Fold rows without the garbage collector: what they make stays, and looking at it again is a third of the time."""
    gc.disable()
    try:
        fold.apply_rows(rows)
    finally:
        gc.enable()


async def _ahead(chunks: AsyncIterator[Sequence[OpRow]]) -> AsyncIterator[Sequence[OpRow]]:
    """The same chunks; while one is worked on, the database reads the next."""

    async def read() -> Sequence[OpRow]:
        async for rows in chunks:
            return rows
        return ()

    reading = asyncio.create_task(read())
    try:
        while rows := await reading:
            reading = asyncio.create_task(read())
            yield rows
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


class Reader:
    """Reads rooms from the storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._parts: OrderedDict[tuple[str, int, int, bool], asyncio.Task[tuple[tuple[bytes, ...], int]]] = (
            OrderedDict()
        )

    @property
    def is_durable(self) -> bool:
        """Whether what is stored survives a power cut."""
        return self._storage.is_durable

    async def load(self, room_id: str) -> tuple[Fold, int]:
        """The room's state at the head of its log, and the seq of its newest snapshot.

        A log with operations that do not apply is a fault of ours. The room opens all the same, without them, and with
        a new snapshot, so that clients do not stumble over them either.
        """
        fold, snapshot_seq = await self._folded(room_id)
        if fold.skipped:
            log.error("Room %s: %d operations of its log do not apply: %s", room_id, len(fold.skipped), fold.skipped)
            await self._save(room_id, fold, 0)
            snapshot_seq = fold.seq
        return fold, snapshot_seq

    async def _folded(self, room_id: str, upto_seq: int | None = None) -> tuple[Fold, int]:
        """The newest snapshot and the log since, up to ``upto_seq``; and the snapshot's seq."""
        snapshot = await self._storage.latest_snapshot(room_id)
        fold = Fold()
        if snapshot is not None:
            fold = await asyncio.to_thread(Fold.from_parts, snapshot.parts)
        async for rows in _ahead(self._chunks(room_id, fold.seq, upto_seq)):
            if len(rows) < ROWS_INLINE_MAX:
                _apply(fold, rows)
            else:
                await asyncio.to_thread(_apply, fold, rows)
        await asyncio.to_thread(fold.settle)
        return fold, snapshot.seq if snapshot else 0

    async def _chunks(self, room_id: str, after_seq: int, upto_seq: int | None) -> AsyncIterator[Sequence[OpRow]]:
        """The log in chunks of about ``CHUNK_BYTES``: 5,000 values of 256 KiB at once would be more than a gigabyte."""
        window = WINDOW_ROWS_MIN
        while upto_seq is None or after_seq < upto_seq:
            end = after_seq + window if upto_seq is None else min(after_seq + window, upto_seq)
            rows_count = size_bytes = 0
            async for rows in self._storage.read_ops(room_id, after_seq, end):
                rows_count += len(rows)
                size_bytes += sum([len(row.payload) for row in rows])
                yield rows
            if rows_count < end - after_seq:
                return
            after_seq = end
            fitting = CHUNK_BYTES * rows_count // max(1, size_bytes)
            window = max(WINDOW_ROWS_MIN, min(fitting, 4 * window, WINDOW_ROWS_MAX))

    async def catch_up(
        self, room_id: str, after_seq: int, head: int, with_snapshot: bool
    ) -> tuple[tuple[bytes, ...], int]:
        """Encoded parts that bring a session from ``after_seq`` on, and the seq they reach, at most ``head``.

        One chunk of the log at a time: the rest is asked for when the session has taken it. Sessions that ask for the
        same get the same bytes.
        """
        key = (room_id, after_seq, head, with_snapshot)
        task = self._parts.get(key)
        if task is None:
            task = asyncio.create_task(self._in_turn(room_id, after_seq, head, with_snapshot))
            self._parts[key] = task
            while len(self._parts) > CATCH_UPS_MAX:
                self._parts.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except BaseException:
            self._parts.pop(key, None)
            raise

    async def _in_turn(
        self, room_id: str, after_seq: int, head: int, with_snapshot: bool
    ) -> tuple[tuple[bytes, ...], int]:
        async with self._turns:
            return await self._catch_up(room_id, after_seq, head, with_snapshot)

    async def _catch_up(
        self, room_id: str, after_seq: int, head: int, with_snapshot: bool
    ) -> tuple[tuple[bytes, ...], int]:
        parts: list[bytes] = []
        through = after_seq
        if with_snapshot:
            snapshot = await self._storage.latest_snapshot(room_id)
            if snapshot is not None and after_seq < snapshot.seq <= head:
                op = await self._op_id_at(room_id, snapshot.seq)
                parts.append(await asyncio.to_thread(snapshot_part, snapshot.seq, snapshot.parts[LIVE], op))
                through = snapshot.seq
            elif after_seq == 0:
                parts.append(snapshot_part(0, Fold().to_parts()[LIVE], None))
        rows = await self._stretch(room_id, through, head)
        if rows:
            parts.append(part_of_rows(rows))
            through = rows[-1].seq
        return tuple(parts), through

    async def _stretch(self, room_id: str, after_seq: int, head: int) -> list[OpRow]:
        """What follows in the log, as much as one frame may have: over 32 MiB no client would take it, ever."""
        stretch: list[OpRow] = []
        size_bytes = 0
        async for rows in self._chunks(room_id, after_seq, head):
            for row in rows:
                size_bytes += len(row.payload)
                stretch.append(row)
                if size_bytes >= CHUNK_BYTES or len(stretch) >= STRETCH_ROWS:
                    return stretch
        return stretch

    async def _op_id_at(self, room_id: str, seq: int) -> OpId:
        row = await self._storage.op_at(room_id, seq)
        if row is None:
            raise StorageError(f"room {room_id} has a snapshot at {seq}, but no operation there")
        return OpId(row.site, row.counter)

    async def rows_after(self, room_id: str, after_seq: int) -> Sequence[OpRow]:
        """A chunk of the log after ``after_seq``; empty at its head."""
        async for rows in self._chunks(room_id, after_seq, None):
            return rows
        return ()

    async def write_snapshot(self, room_id: str, seq: int, now_ms: int) -> None:
        """Write the room's snapshot at ``seq``: the last one, and the log since, folded and encoded in a thread."""
        fold, _ = await self._folded(room_id, seq)
        await self._save(room_id, fold, now_ms)

    async def _save(self, room_id: str, fold: Fold, now_ms: int) -> None:
        parts = await asyncio.to_thread(fold.to_parts)
        await self._storage.save_snapshot(SnapshotRow(room_id, fold.seq, parts), now_ms)

    def forget(self, room_id: str) -> None:
        """Drop what is kept of a room."""
        for key in [key for key in self._parts if key[0] == room_id]:
            del self._parts[key]
