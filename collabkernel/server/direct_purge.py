"""Purging a room without loading it as a server does: for who works on the database by hand.

A room's keeper alone may purge, and who that is a lease tells (``keeper_leases.py``). It is taken for the moment, where
no server has it, and what is written under it is fenced as a server's is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from collabkernel.crdt.clock import hlc_from_ms
from collabkernel.crdt.ids import KEEPER_SITE
from collabkernel.document.operations import Purge
from collabkernel.errors import RoomNotFoundError, StorageError
from collabkernel.room.events import Keeping
from collabkernel.room.fold import Fold
from collabkernel.room.keeper import KEEPER_ACTOR
from collabkernel.room.purger import Purger
from collabkernel.server.compaction import Compaction
from collabkernel.server.keeper_leases import KeeperLeases
from collabkernel.server.reader import Reader
from collabkernel.storage.base import Appended, AppendRequest, Storage
from collabkernel.wire.ops import encode_op, op_kind

T = TypeVar("T")


class DirectPurge:
    """Purges rooms, one after the other."""

    def __init__(
        self, storage: Storage, reader: Reader, leases: KeeperLeases, work: Compaction, now_ms: Callable[[], int]
    ) -> None:
        """Begin nothing yet.

        Args:
            storage: The database.
            reader: Reads rooms of it.
            leases: The rights to keep them.
            work: Whose turns and allowance it takes.
            now_ms: This process's clock.
        """
        self._storage = storage
        self._reader = reader
        self._leases = leases
        self._work = work
        self._now_ms = now_ms

    async def purge(self, room_id: str, ops: Sequence[Purge], seq: int) -> int | None:
        """Let go of what is still deleted of this, and write a snapshot without it.

        Args:
            room_id: The room.
            ops: What was found.
            seq: Blocks go that were deleted by the operations up to there.

        Returns:
            How many slots, keys and blocks; None while a server keeps the room.

        Raises:
            RoomNotFoundError: It was deleted meanwhile.
            StorageError: The database does not answer, or a server took the room over. What was purged stays so.
        """
        keeping = await self._leases.take(room_id)
        if keeping is None:
            return None
        fold, _ = await self._reader.load(room_id)
        count = 0
        try:
            purger = Purger(fold.state)
            purger.ask(ops, seq)
            while found := await self._turn(purger.next):
                if keeping.until_ms <= self._now_ms() and (keeping := await self._leases.take(room_id)) is None:
                    break
                await self._write(room_id, keeping, fold, found)
                keeping = keeping.after(len(found))
                purger.written(len(found))
                count += purger.count
        finally:
            if keeping is not None:
                await self._leases.release(room_id, keeping)
        if count:
            await self._reader.save(room_id, fold, self._now_ms())
        return count

    async def _write(self, room_id: str, keeping: Keeping, fold: Fold, ops: Sequence[Purge]) -> None:
        """Store an envelope, and bring the fold behind it."""
        encoded = tuple([(op_kind(op), encode_op(op)) for op in ops])
        hlc = max(hlc_from_ms(self._now_ms()), fold.hlc + 1)
        place = (KEEPER_SITE, keeping.epoch, keeping.next_counter, fold.seq, hlc, KEEPER_ACTOR)
        request = AppendRequest(room_id, *place, encoded, fold.state.purged_seq, is_purge=True)
        (answer,) = await self._storage.append([request])
        if not isinstance(answer, Appended):
            raise StorageError(f"room {room_id!r} was not purged: {answer.reason}")
        while fold.seq < answer.seq + len(ops) - 1:
            rows = await self._reader.rows_after(room_id, fold.seq)
            if not rows:
                raise RoomNotFoundError(room_id)  # it was deleted since
            await self._turn(partial(fold.apply_rows, rows))
        await self._turn(fold.settle)

    async def _turn(self, work: Callable[[], T]) -> T:
        async with self._work.turn():
            return await self._work.work(work)
