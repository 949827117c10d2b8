"""Finding what was deleted long ago in a room, and asking its keeper to let go of it.

What is deleted is in the room's newest snapshot; that it was so ``history_days`` ago is seen in the room as it was then
(``room_history.py``). Both are looked at in threads, within the share of a core that compaction has. The keeper holds
what is found against what the room is by then, and writes it into the log (``room/purger.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from collabkernel.crdt.clock import hlc_from_ms
from collabkernel.crdt.ids import Stamp
from collabkernel.document.operations import Purge
from collabkernel.document.purge_plan import Then, plan_purges
from collabkernel.document.room_state import RoomState
from collabkernel.errors import InvalidValueError, NotKeptError, StorageError, TooLargeError, TooManyError
from collabkernel.limits import SITE_MAX, Limits
from collabkernel.room.fold import Fold
from collabkernel.server.compaction import Compaction
from collabkernel.server.reader import Reader
from collabkernel.server.room_history import RoomHistory
from collabkernel.storage.base import SnapshotRow
from collabkernel.wire.room_state import decode_room

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
DEAD_BYTES = 10
"""What something deleted takes of a snapshot, at least: one that is too small for enough of it is not read."""


class Purging:
    """One server's."""

    def __init__(
        self,
        reader: Reader,
        past: RoomHistory,
        work: Compaction,
        limits: Limits,
        now_ms: Callable[[], int],
        ask: Callable[[str, tuple[Purge, ...], int], None],
    ) -> None:
        """Look at nothing yet.

        Args:
            reader: Reads rooms back.
            past: Knows what they were.
            work: Whose turns and allowance it takes.
            limits: What is purged.
            now_ms: This server's clock.
            ask: Gives the keeper of a room what to purge, and the seq by which it was deleted.
        """
        self._reader = reader
        self._past = past
        self._work = work
        self._limits = limits
        self._now_ms = now_ms
        self._ask = ask

    async def purge(self, room_id: str) -> int:
        """Look at a room; how many operations its keeper was asked for. What fails is tried again another day."""
        try:
            return await self._purge(room_id)
        except (StorageError, TooManyError) as error:
            log.warning("Room %s was not purged: %s", room_id, error)
            return 0

    async def _purge(self, room_id: str) -> int:
        before_ms = self._now_ms() - self._limits.history_days * DAY_MS
        snapshot = await self._reader.snapshot(room_id)
        if snapshot is None or not self._limits.history_days or before_ms <= 0:
            return 0
        if sum(map(len, snapshot.parts.values())) < self._limits.purge_least * DEAD_BYTES:
            return 0
        ops, seq = await self._found(snapshot, before_ms)
        if ops:
            log.info("Room %s: what was deleted is purged, by %d operations", room_id, len(ops))
            self._ask(room_id, tuple(ops), seq)
        return len(ops)

    async def _found(self, snapshot: SnapshotRow, before_ms: int) -> tuple[list[Purge], int]:
        """What to purge, and the seq of the state in which it was deleted already."""
        floor, least = Stamp(hlc_from_ms(before_ms), SITE_MAX), self._limits.purge_least
        async with self._work.turn():
            fold = await self._work.work(partial(Fold.from_parts, snapshot.parts))
            now = fold.state
            dead = await self._work.work(lambda: plan_purges(now, Then(now, fold.seq, floor), least))
        if not dead:  # what was deleted by then is no more than what is deleted by now
            return [], 0
        state, seq = await self._as_it_was(snapshot.room_id, before_ms)
        async with self._work.turn():
            return await self._work.work(lambda: plan_purges(now, Then(state, seq, floor), least)), seq

    async def _as_it_was(self, room_id: str, before_ms: int) -> tuple[RoomState, int]:
        """The room as it was, and its seq; an empty one where nobody knows: then keys alone are found."""
        try:
            state = await self._past.state_at(room_id, at_ms=before_ms)
        except (NotKeptError, TooLargeError, TooManyError, InvalidValueError) as error:
            log.info("Room %s: what was deleted but for keys is looked for another day: %s", room_id, error)
            return RoomState(), 0
        async with self._work.turn():
            return (await self._work.work(lambda: decode_room(state, client_id=None, is_trusted=True)))[:2]
