"""Rooms of Yjs documents: loading them from their log, their snapshots, and who may not come back for a while."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

from collabkernel.crdt.yjs.document import YDocument
from collabkernel.crdt.yjs.policy import YjsPolicy
from collabkernel.limits import SITE_MAX, Limits
from collabkernel.room.document_fold import DocumentFold
from collabkernel.room.document_room import DocumentRoom
from collabkernel.room.effects import Ban, ReadCatchUp
from collabkernel.room.events import FrameReceived, Keeping
from collabkernel.server.compaction import Compaction
from collabkernel.server.document_history import DocumentHistory
from collabkernel.server.kinds import LoadedRoom
from collabkernel.server.reader import Reader
from collabkernel.storage.base import OpRow, RoomRow, SnapshotRow, Storage

log = logging.getLogger(__name__)

BANS_MAX = 10_000
"""Bans kept; the oldest go first."""


class Bans:
    """Who may not open which document for now."""

    def __init__(self, limits: Limits, now_ms: Callable[[], int]) -> None:
        self._limits = limits
        self._now_ms = now_ms
        self._until_ms: OrderedDict[tuple[str, str], int] = OrderedDict()

    def add(self, room_id: str, actor: str) -> None:
        """Keep somebody out for ``limits.ban_ms``."""
        self._until_ms[room_id, actor] = self._now_ms() + self._limits.ban_ms
        self._until_ms.move_to_end((room_id, actor))
        while len(self._until_ms) > BANS_MAX:
            self._until_ms.popitem(last=False)

    def left_ms(self, room_id: str, actor: str) -> int:
        """How long he has to stay out."""
        return max(0, self._until_ms.get((room_id, actor), 0) - self._now_ms())


class DocumentKind:
    """The room of a document."""

    hello_timeout_ms: int | None = None

    def __init__(
        self,
        storage: Storage,
        reader: Reader,
        history: DocumentHistory,
        compaction: Compaction,
        limits: Limits,
        now_ms: Callable[[], int],
        policy: YjsPolicy,
        bans: Bans,
    ) -> None:
        self._storage = storage
        self._reader = reader
        self._history = history
        self._compaction = compaction
        self._limits = limits
        self._now_ms = now_ms
        self._version_ms: int | None = None
        """When the newest version was made, once that is known; kinds are made for one room."""
        self._policy = policy
        self._bans = bans
        self.bytes_per_s = limits.document_bytes_per_s
        self.work_ms_per_s: int | None = limits.document_work_ms_per_s
        self.thread_bytes: int | None = limits.document_thread_bytes

    async def load(self, room_id: str, has_peers: bool) -> LoadedRoom:
        """The document at the head of its log."""
        fold, snapshot_seq = await self._history.read(room_id)
        await asyncio.to_thread(fold.settle)
        if fold.skipped:
            log.error("Document %s: %d rows of its log do not apply: %s", room_id, len(fold.skipped), fold.skipped)
        client_id = secrets.randbelow(SITE_MAX) + 1
        document = await asyncio.to_thread(YDocument, self._policy, client_id, fold.state)
        return DocumentRoom(
            room_id,
            document,
            fold.actor_by_client,
            fold.seq,
            snapshot_seq,
            self._limits,
            self._now_ms(),
            has_peers,
            fold.log_bytes,
        )

    async def catch_up(self, room_id: str, effect: ReadCatchUp) -> tuple[tuple[bytes, ...], int]:
        """Documents are caught up from memory."""
        raise AssertionError(f"document {room_id} asks for {effect}")

    async def rows_after(self, room_id: str, after_seq: int) -> Sequence[OpRow]:
        """A chunk of the log; empty at its head."""
        return await self._reader.rows_after(room_id, after_seq)

    async def row(self, room_id: str) -> RoomRow | None:
        """The room as the database has it; None when it was deleted."""
        return await self._reader.row(room_id)

    async def write_snapshot(self, room_id: str, seq: int, now_ms: int) -> None:
        """Write the snapshot at ``seq``, unless another server has written a newer one, and have the log below dropped.

        A version due is kept before: what the log could tell goes with it.

        Raises:
            InvalidYjsUpdateError: It would not be the same document: the log stays.
        """
        compaction = self._compaction
        async with compaction.turn():
            fold, snapshot_seq = await self._history.read(room_id, seq)
            if not snapshot_seq < seq == fold.seq:
                return
            await compaction.work(partial(fold.squash, self._policy))
            await self._storage.save_snapshot(SnapshotRow(room_id, seq, fold.to_parts()), now_ms)
        await self._keep_version(room_id, fold, now_ms)
        compaction.drop_below(room_id, seq)

    async def _keep_version(self, room_id: str, fold: DocumentFold, now_ms: int) -> None:
        """Keep the state for the timeline, if the last that was kept is old enough."""
        if self._version_ms is None:
            versions = await self._storage.versions(room_id)
            self._version_ms = max([version.created_ms for version in versions], default=0)
        if now_ms >= self._version_ms + self._limits.version_interval_ms:
            await self._storage.save_version(room_id, fold.seq, "", fold.state, now_ms)
            self._version_ms = now_ms

    async def take_keeping(self, room_id: str) -> Keeping | None:
        """A document of JupyterLab has no blocks to mend."""
        raise AssertionError(f"room {room_id} asks for a keeper")

    async def give_keeping(self, room_id: str, keeping: Keeping) -> None:
        """A document of JupyterLab has no blocks to mend."""
        raise AssertionError(f"room {room_id} had {keeping}")

    def forget(self, room_id: str) -> None:
        """Nothing is kept."""

    def ban(self, room_id: str, effect: Ban) -> None:
        """Keep somebody out for a while."""
        log.warning("%s may not write to document %s: %s", effect.actor, room_id, effect.code)
        self._bans.add(room_id, effect.actor)

    def farewell(self, code: str, reason: str) -> bytes:
        """The Yjs protocol has no goodbye but the close code."""
        del code, reason
        return b""

    def event(self, session_id: int, frame: bytes) -> FrameReceived:
        """One frame, one message; the room reads it."""
        return FrameReceived(session_id, frame)

    async def events(self, session_id: int, frame: bytes) -> list[tuple[FrameReceived, int]]:
        """All are one event."""
        raise AssertionError(f"session {session_id} sent {len(frame)} bytes that are not one event")
