"""A document's past: its newest snapshot, the log since, and the versions that outlive the log below."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from collabkernel.errors import BlobLostError, BlobsAwayError, InvalidValueError, LogDroppedError, RoomNotFoundError
from collabkernel.limits import VERSION_NAME_BYTES
from collabkernel.room.document_fold import STATE_PART, DocumentFold
from collabkernel.server.reader import Reader, lost_with
from collabkernel.storage.base import SnapshotRow, Storage, VersionRow
from collabkernel.wire.y_protocol import EMPTY_UPDATE

log = logging.getLogger(__name__)

READ_TRIES = 4
"""A log may be compacted while it is read; then the newer snapshot has what is gone."""


class DocumentHistory:
    """Reads what documents were and are, and names what is to be kept of it."""

    def __init__(self, storage: Storage, reader: Reader, now_ms: Callable[[], int]) -> None:
        self._storage = storage
        self._reader = reader
        self._now_ms = now_ms

    async def read(self, room_id: str, upto_seq: int | None = None) -> tuple[DocumentFold, int]:
        """The newest snapshot and the log since, up to ``upto_seq``, not settled yet; and the snapshot's seq.

        Raises:
            StorageError: The log has a gap.
        """
        for tries_left in reversed(range(READ_TRIES)):
            snapshot = await self.snapshot(room_id)
            fold = DocumentFold()
            if snapshot is not None:
                fold = await asyncio.to_thread(DocumentFold.from_parts, snapshot.parts, snapshot.seq)
            try:
                await self._take_rows(room_id, fold, upto_seq)
            except LogDroppedError:
                if not tries_left:
                    raise
            else:
                break
        return fold, snapshot.seq if snapshot else 0

    async def snapshot(self, room_id: str) -> SnapshotRow | None:
        """The newest snapshot; when it cannot be read the one before, or None, if the log goes back as far.

        Raises:
            BlobLostError: It cannot be read, and the log begins behind the one before it.
            BlobsAwayError: The same, for now.
        """
        try:
            return await self._storage.latest_snapshot(room_id)
        except (BlobLostError, BlobsAwayError) as error:
            row = await self._storage.head(room_id)
            if row is None:
                return None
            older = None
            with suppress(BlobLostError, BlobsAwayError):
                older = await self._storage.latest_snapshot(room_id, before_seq=row.snapshot_seq)
            if (older.seq if older is not None else 0) < row.dropped_seq:
                raise lost_with(error, row) from error
            log.warning("Document %s is read from an older snapshot, or its log alone: %s", room_id, error)
            return older

    async def _take_rows(self, room_id: str, fold: DocumentFold, upto_seq: int | None) -> None:
        """Take the rows behind the fold.

        Raises:
            LogDroppedError: Some of them are gone by now.
        """
        while upto_seq is None or fold.seq < upto_seq:
            read = await self._reader.rows_after(room_id, fold.seq)
            rows = [row for row in read if row.seq <= (upto_seq or row.seq)]
            if not rows:
                return
            if rows[0].seq != fold.seq + 1:
                raise LogDroppedError(room_id, fold.seq, rows[0].seq - 1)
            fold.apply_rows(rows)

    async def save_version(self, room_id: str, name: str) -> VersionRow:
        """Keep the document as it is stored now, under a name; where there is a version already, name that.

        Raises:
            RoomNotFoundError: It does not exist.
            InvalidValueError: The name is too long.
            StorageError: The database does not answer.
        """
        if len(name.encode("utf-8", "replace")) > VERSION_NAME_BYTES:
            raise InvalidValueError(f"a version's name has at most {VERSION_NAME_BYTES} bytes")
        if await self._storage.head(room_id) is None:
            raise RoomNotFoundError(room_id)
        fold, _ = await self.read(room_id)
        await asyncio.to_thread(fold.settle)
        await self._storage.save_version(room_id, fold.seq, name, fold.state, self._now_ms())
        rows = await self._storage.versions(room_id)
        return next(row for row in rows if row.seq == fold.seq)

    async def state_at(self, room_id: str, seq: int) -> bytes:
        """The document at a seq, as one Yjs update: the version there or before, and the log from it on.

        Raises:
            LogDroppedError: Neither a version nor the log goes back to what it takes.
            StorageError: The database does not answer.
        """
        fold = DocumentFold()
        snapshot = await self.snapshot(room_id)
        if snapshot is not None and snapshot.seq <= seq:
            fold = DocumentFold(snapshot.parts[STATE_PART], snapshot.seq)
        version_seqs = [row.seq for row in await self._storage.versions(room_id) if fold.seq < row.seq <= seq]
        if version_seqs:
            state = await self._storage.version_state(room_id, version_seqs[-1])
            if state is not None:  # it was there a moment ago
                fold = DocumentFold(state, version_seqs[-1])
        await self._take_rows(room_id, fold, seq)
        await asyncio.to_thread(fold.settle)
        return fold.state or EMPTY_UPDATE
