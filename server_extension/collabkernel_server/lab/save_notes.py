"""What the database has of the saves of one document, and the lease under which one server at a time changes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from collabkernel.storage.base import Lease, SaveRow, Storage
from collabkernel_server.lab.content import Content, encode_base
from collabkernel_server.lab.disk import DiskFile
from collabkernel_server.lab.file_errors import SaveFailedError
from collabkernel_server.lab.names import DocumentName
from collabkernel_server.lab.recent_saves import RecentSaves

LEASE_MS = 30_000
"""A save of the largest notebook takes a few seconds; a server that died holds up the others for this long."""
LEASE_POLL_S = 0.05
IN_PLACE = "in-place"
"""In the place of a view: what is being written over the file's old content, of whatever view. Its hash is a mark."""


class SaveNotes:
    """Of one document; a file that has two views has two of these, and one lease."""

    def __init__(self, storage: Storage, name: DocumentName, server_id: str, now_ms: Callable[[], int]) -> None:
        self._storage = storage
        self._name = name
        self._view = f"{name.format}:{name.type}"
        self._holder = f"{server_id}/{name.room_id}"
        self._now_ms = now_ms
        self._recent = RecentSaves()
        self._is_in_place = False
        """Whether a write in place is noted, by whomever."""

    async def head_seq(self) -> int:
        """How far the document's log goes; 0 for one that is not known."""
        head = await self._storage.head(self._name.room_id)
        return 0 if head is None else head.seq

    async def last(self) -> SaveRow | None:
        """The last save."""
        return await self._storage.saved(self._name.file_id, self._view)

    async def base(self) -> bytes | None:
        """What the last save put there, as far as it is kept."""
        return await self._storage.saved_base(self._name.file_id, self._view)

    async def base_of(self, found: DiskFile) -> bytes | None:
        """The base to merge a file with that somebody else wrote."""
        last = await self.base()
        return await asyncio.to_thread(self._recent.base_of, last, found.hash, found.content, self._now_ms())

    async def in_place(self) -> str:
        """The mark of what was being written over the file's old content and is not recorded; empty for none."""
        row = await self._storage.saved(self._name.file_id, IN_PLACE)
        mark = "" if row is None else row.hash
        self._is_in_place = mark != ""
        return mark

    async def may_put(self, lease: Lease, file_hash: str, mark: str = "") -> bool:
        """Note what is about to be put in place, with a mark if it is to be written there; False: the lease is lost."""
        is_noted = await self._storage.intend_save(self._name.file_id, lease, view=self._view, hash=file_hash)
        if is_noted and mark:
            is_noted = await self._note_in_place(lease, mark)
        return is_noted and await self._storage.holds_lease(lease)

    async def record(self, lease: Lease, file_hash: str, seq: int, content: Content) -> None:
        """Note what the file has now, and that the document knows it.

        Raises:
            SaveFailedError: The file was deleted, or the lease is lost.
        """
        base = await asyncio.to_thread(encode_base, content)
        now_ms = self._now_ms()
        is_noted = await self._storage.record_save(
            self._name.file_id, lease, view=self._view, hash=file_hash, seq=seq, base=base, now_ms=now_ms
        )
        if not is_noted:
            raise SaveFailedError("", f"the file of {self._name.room_id} was deleted, or another server has its lease")
        if self._is_in_place:
            await self._note_in_place(lease, "")
        self._recent.add(file_hash, base, now_ms)

    async def _note_in_place(self, lease: Lease, mark: str) -> bool:
        self._is_in_place = mark != ""
        return await self._storage.record_save(
            self._name.file_id, lease, view=IN_PLACE, hash=mark, seq=0, base=b"", now_ms=self._now_ms()
        )

    @asynccontextmanager
    async def leased(self, wait_s: float, is_closing: Callable[[], bool]) -> AsyncIterator[Lease | None]:
        """The file's lease, or None when somebody else has it all the time."""
        lease = None
        for _ in range(1 + round(wait_s / LEASE_POLL_S)):
            lease = await self._storage.acquire_lease(f"file:{self._name.file_id}", self._holder, LEASE_MS)
            if lease is not None or is_closing():
                break
            await asyncio.sleep(LEASE_POLL_S)
        try:
            yield lease
        finally:
            if lease is not None:
                await self._storage.release_lease(lease)
