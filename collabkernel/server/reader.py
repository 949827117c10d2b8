"""Reading a room back: loading it, catching up a session, and writing its snapshots beside its task."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from collabkernel.crdt.ids import OpId
from collabkernel.errors import (
    BlobLostError,
    BlobsAwayError,
    LogDroppedError,
    NotKeptError,
    StorageError,
    TooLargeError,
)
from collabkernel.room.fold import Fold, part_of_rows
from collabkernel.server.gently import Gently
from collabkernel.storage.base import OpRow, RoomRow, SnapshotRow, Storage
from collabkernel.wire.frames import snapshot_part, through_part
from collabkernel.wire.room_state import PLACES, decode_room, join_parts

log = logging.getLogger(__name__)

CATCH_UPS_MAX = 16
"""Catch-ups kept for joiners who come together, over all rooms: 1,000 of them at once ask for a handful of seqs."""
READS_AT_ONCE = 4
"""Catch-ups that are read at the same time: a thousand sessions behind are no thousand chunks in memory."""
GAP_ROWS = 256
"""Operations that a room is given at once when it missed some: it applies them in its task, in about 5 ms."""
ROWS_INLINE_MAX = 500
"""Fewer rows are folded on the loop, in about 5 ms; more in a thread, while other rooms go on."""


class CollectorPause:
    """No garbage collection but what ``_apply`` does, until the last of those who load is done.

    What a fold makes stays, and the collector would look at all of it again and again: a third of the time. The
    collector is the process's, and so is this.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users_count = 0
        self._was_enabled = True

    def __enter__(self) -> None:
        with self._lock:
            if self._users_count == 0:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._users_count += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users_count -= 1
            if self._users_count == 0 and self._was_enabled:
                gc.enable()


_COLLECTED_ONCE = CollectorPause()


def _apply(fold: Fold, rows: Sequence[OpRow]) -> None:
    """Fold rows, and pass what they made to the collector's oldest generation."""
    fold.apply_rows(rows)
    gc.collect(1)


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


def _tell_skipped(room_id: str, fold: Fold) -> None:
    """Tell operators of what a new snapshot leaves behind."""
    if fold.skipped:
        log.error("Room %s: %d operations of its log do not apply: %s", room_id, len(fold.skipped), fold.skipped)


def lost_with(error: BlobLostError | BlobsAwayError, row: RoomRow) -> BlobLostError | BlobsAwayError:
    """Say what is lost with a snapshot that the log cannot make again, and what to do."""
    return type(error)(
        f"{error}. The log goes back to {row.dropped_seq + 1} only, so what the room was before is in that blob alone: "
        "put it back, or restore the database and its blobs from one backup"
    )


class _CatchUp(NamedTuple):
    room_id: str
    after_seq: int
    head: int
    with_snapshot: bool
    is_partial: bool
    has_enough: bool = False
    """A snapshot may go beyond ``head``."""


class Reader:
    """Reads rooms from the storage."""

    def __init__(
        self, storage: Storage, snapshot_cpu_percent: int = 100, is_busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._storage = storage
        self._gently = Gently(snapshot_cpu_percent, is_busy)
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._mending = asyncio.Lock()
        self._parts: OrderedDict[_CatchUp, asyncio.Task[tuple[tuple[bytes, ...], int]]] = OrderedDict()

    @property
    def is_durable(self) -> bool:
        """Whether what is stored survives a power cut."""
        return self._storage.is_durable

    async def load(self, room_id: str, upto_seq: int | None = None) -> tuple[Fold, int]:
        """The room's state at the head of its log, and the seq of its newest snapshot.

        Of a room that is written to meanwhile, give a seq: its head may go on as fast as it is read.

        A log with operations that do not apply is a fault of ours. The room opens all the same, without them, and with
        a new snapshot, so that clients do not stumble over them either.
        """
        fold, snapshot_seq = await self._folded(room_id, upto_seq)
        with _COLLECTED_ONCE:
            await asyncio.to_thread(fold.make_ready)
        if fold.skipped:
            _tell_skipped(room_id, fold)
            await self.save(room_id, fold, 0)
            snapshot_seq = fold.seq
        return fold, snapshot_seq

    async def _folded(
        self, room_id: str, upto_seq: int | None = None, gently: Gently | None = None
    ) -> tuple[Fold, int]:
        """The newest snapshot and the log since, up to ``upto_seq``; and the snapshot's seq."""
        with suppress(LogDroppedError):  # another server compacts it: there is a newer snapshot
            return await self._fold_once(room_id, upto_seq, gently)
        return await self._fold_once(room_id, upto_seq, gently)

    async def past(self, room_id: str, seq: int, ops_max: int, known: tuple[int, bytes] | None = None) -> bytes:
        """The ``RoomState`` of a room at a seq of its log: the nearest state that is kept, and the log since.

        Args:
            room_id: The room.
            seq: Where in its log; it goes as far.
            ops_max: Operations that may be folded for it.
            known: Seq and ``RoomState`` of another past state, at this seq or before.

        Raises:
            NotKeptError: The log does not go back as far, and no state at this seq was kept.
            TooLargeError: More than ``ops_max`` operations are to be folded for it.
            StorageError: The database does not answer.
        """
        with suppress(LogDroppedError):  # it is compacted meanwhile: other states are kept by now
            return await self._past_once(room_id, seq, ops_max, known)
        return await self._past_once(room_id, seq, ops_max, known)

    async def _past_once(self, room_id: str, seq: int, ops_max: int, known: tuple[int, bytes] | None) -> bytes:
        fold = await self._nearest(room_id, seq, known)
        if fold.seq < seq:
            await self._check_kept(room_id, fold.seq, seq)
        if seq - fold.seq > ops_max:
            raise TooLargeError("a past state", seq - fold.seq, ops_max, "operations since the nearest snapshot")
        await self._follow(room_id, fold, seq)
        return join_parts(await asyncio.to_thread(fold.to_parts))

    async def _nearest(self, room_id: str, seq: int, known: tuple[int, bytes] | None) -> Fold:
        """The last state at or before a seq, of those that are stored or known: an empty room if there is none."""
        row = await self._storage.head(room_id)
        known_seq = known[0] if known is not None else 0
        kept_seq = max([each.seq for each in await self._storage.versions(room_id) if each.seq <= seq], default=0)
        if row is not None and max(known_seq, kept_seq) < row.snapshot_seq <= seq:
            snapshot = await self.snapshot(room_id)
            if snapshot is not None and snapshot.seq <= seq:
                return await asyncio.to_thread(Fold.from_parts, snapshot.parts)
        state = known[1] if known is not None else b""
        if kept_seq > known_seq:
            state = await self._storage.version_state(room_id, kept_seq) or state  # it was there a moment ago
        return await asyncio.to_thread(lambda: Fold(*decode_room(state, client_id=None))) if state else Fold()

    async def _check_kept(self, room_id: str, from_seq: int, seq: int) -> None:
        """Refuse a seq that the log does not reach from the nearest state before it."""
        row = await self._storage.head(room_id)
        if row is not None and from_seq < row.dropped_seq:
            later = [each.seq for each in await self._storage.versions(room_id) if each.seq > seq]
            raise NotKeptError(room_id, f"seq {seq}", from_seq or None, min([*later, row.snapshot_seq]))

    async def _fold_once(self, room_id: str, upto_seq: int | None, gently: Gently | None) -> tuple[Fold, int]:
        snapshot = await self.snapshot(room_id)
        fold = Fold()
        if snapshot is not None:
            fold = await asyncio.to_thread(Fold.from_parts, snapshot.parts)
        if gently is None:
            await self._follow(room_id, fold, upto_seq)
        else:
            await gently.follow(fold, self._storage.read_ops(room_id, fold.seq, upto_seq))
        return fold, snapshot.seq if snapshot else 0

    async def snapshot(self, room_id: str, wanted: Sequence[str] | None = None) -> SnapshotRow | None:
        """The newest snapshot of a room, or these of its parts; one that cannot be read is made again.

        Raises:
            BlobLostError: It cannot be read, nor made again from what was kept before it and the log since.
            BlobsAwayError: The same, for now.
            StorageError: The database does not answer.
        """
        try:
            return await self._storage.latest_snapshot(room_id, wanted)
        except (BlobLostError, BlobsAwayError) as error:
            await self._mend(room_id, error)
        return await self._storage.latest_snapshot(room_id, wanted)

    async def _mend(self, room_id: str, error: BlobLostError | BlobsAwayError) -> None:
        """Write a snapshot of the newest state before it that can be read, and the log since.

        One at a time on this server: each is a room in memory, and a long log is seconds of a thread.
        """
        async with self._mending:
            row = await self._storage.head(room_id)
            if row is None or await self._is_readable(room_id):  # by now: others had come for it as well
                return
            fold = await self._before(row, error)
            log.warning("Room %s is made again from its log after %d: %s", room_id, fold.seq, error)
            await self._follow(room_id, fold, row.seq)
            _tell_skipped(room_id, fold)
            await self.save(room_id, fold, 0)

    async def _is_readable(self, room_id: str) -> bool:
        try:
            await self._storage.latest_snapshot(room_id)
        except (BlobLostError, BlobsAwayError):
            return False
        return True

    async def _before(self, row: RoomRow, error: BlobLostError | BlobsAwayError) -> Fold:
        """The newest state below a snapshot that cannot be read, if the log goes back to it."""
        kept_seq = max([each.seq for each in await self._storage.versions(row.room_id)], default=0)
        with suppress(BlobLostError, BlobsAwayError):
            older = await self._storage.latest_snapshot(row.room_id, before_seq=row.snapshot_seq)
            if older is not None and older.seq >= max(kept_seq, row.dropped_seq):
                return await asyncio.to_thread(Fold.from_parts, older.parts)
        if kept_seq < row.dropped_seq:
            raise lost_with(error, row)
        state = await self._storage.version_state(row.room_id, kept_seq) if kept_seq else None
        return Fold() if state is None else await asyncio.to_thread(lambda: Fold(*decode_room(state, client_id=None)))

    async def _follow(self, room_id: str, fold: Fold, upto_seq: int | None) -> None:
        """Fold the log behind a state, up to ``upto_seq``."""
        with _COLLECTED_ONCE:
            async for rows in _ahead(self._storage.read_ops(room_id, fold.seq, upto_seq)):
                if len(rows) < ROWS_INLINE_MAX:
                    _apply(fold, rows)
                else:
                    await asyncio.to_thread(_apply, fold, rows)
            await asyncio.to_thread(fold.settle)

    async def catch_up(
        self,
        room_id: str,
        after_seq: int,
        head: int,
        with_snapshot: bool,
        is_partial: bool = False,
        enough: int | None = None,
    ) -> tuple[tuple[bytes, ...], int]:
        """Encoded parts that bring a session from ``after_seq`` on, and the seq they reach, at most ``head``.

        Each is a frame, the last of which tells that seq; none when there is nothing.

        One chunk of the log at a time: the rest is asked for when the session has taken it. Sessions that ask for the
        same get the same bytes. A snapshot that is partial has live values and the places of blocks, not what is in
        them. Nothing is read behind a snapshot at ``enough``, or a later one.
        """
        if enough is not None:
            found = await self._shared(_CatchUp(room_id, after_seq, enough, True, is_partial, has_enough=True))
            if found[1] <= head:  # else another server wrote a snapshot that goes further
                return found
        return await self._shared(_CatchUp(room_id, after_seq, head, with_snapshot, is_partial))

    async def _shared(self, key: _CatchUp) -> tuple[tuple[bytes, ...], int]:
        task = self._parts.get(key)
        if task is None:
            task = asyncio.create_task(self._in_turn(key))
            self._parts[key] = task
            while len(self._parts) > CATCH_UPS_MAX:
                self._parts.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except BaseException:
            self._parts.pop(key, None)
            raise

    async def _in_turn(self, asked: _CatchUp) -> tuple[tuple[bytes, ...], int]:
        async with self._turns:
            with suppress(LogDroppedError):  # the log does not go back as far any more, but its snapshot goes further
                return await self._catch_up(asked)
            return await self._catch_up(asked._replace(with_snapshot=True))

    async def _catch_up(self, asked: _CatchUp) -> tuple[tuple[bytes, ...], int]:
        room_id, after_seq, head, with_snapshot, is_partial, has_enough = asked
        parts: list[bytes] = []
        through = after_seq
        if with_snapshot:
            snapshot = await self.snapshot(room_id, PLACES if is_partial else None)
            if snapshot is not None and after_seq < snapshot.seq and (has_enough or snapshot.seq <= head):
                op = await self._op_id_at(room_id, snapshot.seq)
                state = join_parts(snapshot.parts)
                parts.append(await asyncio.to_thread(snapshot_part, snapshot.seq, state, op))
                through = snapshot.seq
            elif after_seq == 0:
                parts.append(snapshot_part(0, join_parts(Fold().to_parts()), None))
        rows = await self._chunk(room_id, through, head) if through < head else ()
        if rows:
            few = len(rows) < ROWS_INLINE_MAX
            parts.append(part_of_rows(rows) if few else await asyncio.to_thread(part_of_rows, rows))
            through = rows[-1].seq
        if parts:
            parts[-1] += through_part(through)  # here, once for all who are given it
        return tuple(parts), through

    async def _chunk(self, room_id: str, after_seq: int, upto_seq: int) -> Sequence[OpRow]:
        """What follows in the log, as much as storage reads at once: over 32 MiB no client would take a frame, ever."""
        async for rows in self._storage.read_ops(room_id, after_seq, upto_seq):
            return rows
        return ()

    async def _op_id_at(self, room_id: str, seq: int) -> OpId:
        row = await self._storage.op_at(room_id, seq)
        if row is None:
            room = await self._storage.head(room_id)
            if room is not None and room.dropped_seq >= seq:
                raise LogDroppedError(room_id, seq - 1, room.dropped_seq)
            raise StorageError(f"room {room_id} has a snapshot at {seq}, but no operation there")
        return OpId(row.site, row.counter)

    async def rows_after(self, room_id: str, after_seq: int) -> Sequence[OpRow]:
        """Some of the log after ``after_seq``, at most ``GAP_ROWS``, or what a chunk may hold; empty at its head."""
        return await self._chunk(room_id, after_seq, after_seq + GAP_ROWS)

    async def row(self, room_id: str) -> RoomRow | None:
        """The room; None when it was deleted. Made at another time it is another room of that name."""
        return await self._storage.head(room_id)

    async def write_snapshot(self, room_id: str, seq: int, now_ms: int) -> None:
        """Write the room's snapshot at ``seq``: the last one, and the log since, folded and encoded in a thread.

        The room goes on meanwhile: the thread works in short pieces, and rests.
        """
        async with self._gently.turn():
            fold, _ = await self._folded(room_id, seq, self._gently)
        await self.save(room_id, fold, now_ms)

    async def save(self, room_id: str, fold: Fold, now_ms: int) -> None:
        """Write a state as the room's snapshot, encoded in a thread; it must not go on meanwhile."""
        parts = await asyncio.to_thread(fold.to_parts)
        await self._storage.save_snapshot(SnapshotRow(room_id, fold.seq, parts), now_ms)

    def forget(self, room_id: str) -> None:
        """Drop what is kept of a room."""
        for key in [key for key in self._parts if key[0] == room_id]:
            del self._parts[key]
