"""Snapshots of a ``SqlStorage``: manifests and small blobs in SQL, large ones outside, where there is a ``BlobStore``.

Outside goes first, then the transaction that names what is there. What is outside and cannot be read is a
``BlobLostError`` or ``BlobsAwayError``; whoever asked makes the snapshot again from what is before it
(``server.reader``), and the save after that writes such a blob anew. A blob that the store does not take goes into SQL:
what a room was acknowledged for does not wait for a second system.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from collabkernel.errors import BlobLostError, BlobsAwayError, StorageError
from collabkernel.storage import snapshots
from collabkernel.storage.base import Rest, SnapshotRow
from collabkernel.storage.blobs import REMOVED_AT_ONCE, BlobStore
from collabkernel.storage.compression import IN_THREAD_BYTES
from collabkernel.storage.snapshots import Blob, Found

_SAVE_ATTEMPTS = 5
"""Another server would have to drop a blob that we are about to share, at each of them."""
_READ_ATTEMPTS = 5
"""... or one that we are about to read: a snapshot that has expired twice since."""
UNREAD_MAX = 10_000
"""Blobs that are known to be unreadable, a hundred bytes each; over it all are forgotten, and found again."""

T = TypeVar("T")


class Run(Protocol):
    """Runs a function over a connection, in a transaction."""

    def __call__(self, work: Callable[[Connection], T], /) -> Awaitable[T]:
        """What it returns."""


class SqlSnapshots:
    """Saves, reads and sweeps."""

    def __init__(self, read: Run, write: Run, store: BlobStore | None) -> None:
        self._read = read
        self._write = write
        self._store = store
        self._unread: set[tuple[str, str]] = set()
        """Room and hash of blobs of a snapshot that could not be read: the next save of one writes it anew."""

    async def open(self) -> None:
        """Begin; the database is open."""
        if self._store is not None:
            self._store.open(await self._write(snapshots.space))

    def close(self) -> None:
        """End."""
        if self._store is not None:
            self._store.close()

    async def save(self, snapshot: SnapshotRow, now_ms: int) -> None:
        """Write a snapshot; equal parts share a blob; only the newest are kept."""
        room_id = snapshot.room_id
        manifest = {partition: snapshots.content_hash(state) for partition, state in snapshot.parts.items()}
        state_by_hash = {manifest[partition]: state for partition, state in snapshot.parts.items()}
        anew = {name for name in state_by_hash if (room_id, name) in self._unread}
        ready: dict[str, Blob] = {}
        for _ in range(_SAVE_ATTEMPTS):
            room, missing = await self._read(
                partial(snapshots.missing_blobs, room_id=room_id, hashes=manifest.values())
            )
            data = await _compressed([state_by_hash[name] for name in (missing | anew) - ready.keys()])
            ready |= await self._put(room, data)
            save = partial(
                snapshots.save, room_id=room_id, seq=snapshot.seq, manifest=manifest, ready=ready, now_ms=now_ms
            )
            if await self._write(save):
                self._unread -= {(room_id, name) for name in anew}
                return
        raise StorageError(f"snapshot of room {room_id!r}: others kept dropping its blobs; try again")

    async def _put(self, room: int | None, data: Mapping[str, bytes]) -> dict[str, Blob]:
        """Blobs as their rows are to have them."""
        rows = await asyncio.gather(*[self.put_blob(room, name, blob) for name, blob in data.items()])
        return dict(zip(data, rows, strict=True))

    async def put_blob(self, room: int | None, name: str, data: bytes) -> Blob:
        """A blob of a room, by its key, as its row is to have it: outside when it is large, and was taken there."""
        if self._store is None or room is None or len(data) < self._store.outside_bytes:
            return Blob(data)
        try:
            return Blob(b"", await self._store.write(room, name, data))
        except BlobsAwayError:  # the store has told and counted it
            return Blob(data)

    async def latest(
        self, room_id: str, wanted: Sequence[str] | None = None, before_seq: int | None = None
    ) -> SnapshotRow | None:
        """The newest snapshot (below ``before_seq``), or these of its parts; or None.

        Raises:
            BlobLostError: A blob of it is missing or damaged.
            BlobsAwayError: One is outside, and cannot be reached.
        """
        before: Found | None = None
        for _ in range(_READ_ATTEMPTS):
            found = await self._read(partial(snapshots.latest, room_id=room_id, wanted=wanted, before_seq=before_seq))
            if found is None:
                return None
            try:
                state_by_hash = await self._states(room_id, found)
            except BlobLostError:
                if found == before:  # otherwise it may have expired, and been removed, while we read
                    raise
                before = found
            else:
                parts = {partition: state_by_hash[name] for partition, name in found.manifest.items()}
                return SnapshotRow(room_id, found.seq, parts)
        raise StorageError(f"snapshots of room {room_id!r} expire faster than they are read; try again")

    async def _states(self, room_id: str, found: Found) -> dict[str, bytes]:
        """States by content hash."""
        here = {name: blob.data for name in found.names if not (blob := found.blobs.get(name, Blob(b""))).place}
        outside = {name: found.blobs[name].place for name in found.names - here.keys()}
        try:
            states = await asyncio.gather(*[self._read_outside(place, name) for name, place in outside.items()])
            return dict(zip(outside, states, strict=True)) | await _decompressed(here)
        except (BlobLostError, BlobsAwayError) as error:
            if len(self._unread) >= UNREAD_MAX:
                self._unread.clear()
            self._unread |= {(room_id, name) for name in found.names}
            raise type(error)(f"the snapshot of room {room_id!r} at {found.seq} cannot be read: {error}") from error

    async def read_blob(self, blob: Blob, name: str) -> bytes:
        """A blob, still compressed, wherever it is.

        Raises:
            BlobLostError: It is missing or damaged.
            BlobsAwayError: It is outside, and cannot be reached.
        """
        if not blob.place:
            await _decompressed({name: blob.data})
            return blob.data
        if self._store is None:
            raise _nowhere(blob.place, name)

        def check(data: bytes) -> bytes:
            snapshots.decompress(data, name)
            return data

        return await self._store.read(blob.place, check)

    async def _read_outside(self, place: str, name: str) -> bytes:
        if self._store is None:
            raise _nowhere(place, name)
        return await self._store.read(place, partial(snapshots.decompress, name=name))

    async def sweep(self, rest: Rest | None = None) -> int:
        """Remove what is outside and not named: from a crash between write and commit, or of what has expired.

        Safe beside all that write: what is as old is named already, or never will be (``blobs``).
        """
        if self._store is None:
            return 0
        count = 0
        for room in await self._store.rooms():
            begun_s = time.monotonic()
            old = await self._store.old_places(room)  # first, so that what is named meanwhile is seen to be
            gone = sorted(set(old) - await self._read(partial(snapshots.places, room=room))) if old else []
            for start in range(0, len(gone), REMOVED_AT_ONCE):
                await self._store.remove(gone[start : start + REMOVED_AT_ONCE])
            count += len(gone)
            if rest is not None:
                await rest(time.monotonic() - begun_s)
        return count


def _nowhere(place: str, name: str) -> BlobLostError:
    return BlobLostError(f"blob {name} is outside the database, at {place}, and no blob_url says where that is")


async def _compressed(states: Sequence[bytes]) -> dict[str, bytes]:
    if sum(map(len, states)) < IN_THREAD_BYTES:
        return snapshots.compress(states)
    return await asyncio.to_thread(snapshots.compress, states)


async def _decompressed(data: Mapping[str, bytes]) -> dict[str, bytes]:
    """States by content hash, made beside the loop when they are large."""

    def run() -> dict[str, bytes]:
        return {name: snapshots.decompress(blob, name) for name, blob in data.items()}

    return run() if sum(map(len, data.values())) < IN_THREAD_BYTES else await asyncio.to_thread(run)
