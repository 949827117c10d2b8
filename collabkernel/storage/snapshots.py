"""Snapshots in SQL: a manifest a snapshot, and compressed blobs that a room's snapshots share. Over a connection.

A blob's row has the blob, or the place where it is outside the database (``blobs.BlobStore``).

A blob belongs to one room: two rooms that hold the same bytes tell each other nothing, and a room is deleted whole.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import zstandard
from sqlalchemy import Connection, delete, insert, select, update

from collabkernel.errors import BlobLostError, RoomNotFoundError, StorageError
from collabkernel.storage.inserts import insert_if_new
from collabkernel.storage.log import lock_room, room_key
from collabkernel.storage.tables import blob_space, blobs, rooms, snapshots

SNAPSHOTS_KEPT = 2
"""The newest, and the one before it in case the newest is damaged: while the log goes back to that one."""
_ZSTD_LEVEL = 3
"""zstd's own default: about 300 MB/s."""


class Blob(NamedTuple):
    """A blob as its row has it."""

    data: bytes
    """Compressed; empty where it is outside."""
    place: str = ""
    """Where outside; empty where it is here."""


class Found(NamedTuple):
    """A snapshot as its rows have it."""

    seq: int
    manifest: dict[str, str]
    """Partition to content hash, of the parts that were asked for."""
    blobs: dict[str, Blob]
    """By content hash, those that have a row."""

    @property
    def names(self) -> set[str]:
        """Content hashes of these parts."""
        return set(self.manifest.values())


def content_hash(state: bytes) -> str:
    """The name of a part's blob: SHA-256 in hexadecimal."""
    return hashlib.sha256(state).hexdigest()


def compress(parts: Iterable[bytes]) -> dict[str, bytes]:
    """Blobs by content hash. Takes milliseconds a megabyte: not for the loop's thread."""
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    return {content_hash(state): compressor.compress(state) for state in parts}


def missing_blobs(connection: Connection, room_id: str, hashes: Iterable[str]) -> tuple[int | None, set[str]]:
    """The room's key, and those of these blobs that it does not have yet."""
    room = room_key(connection, room_id)
    return room, set(hashes) - ({*_stored_hashes(connection, room)} if room is not None else set())


def save(
    connection: Connection, room_id: str, seq: int, manifest: Mapping[str, str], ready: Mapping[str, Blob], now_ms: int
) -> bool:
    """Write a snapshot, drop the oldest, and drop blobs that none refers to.

    Args:
        connection: In a transaction.
        room_id: The room.
        seq: Where in the log the state was taken.
        manifest: Partition to content hash.
        ready: Blobs by content hash: those that the room did not have a moment ago, and those to be put in the place
            of what it has.
        now_ms: Wall clock.

    Returns:
        False, with nothing written, when a blob that the room had then has been dropped since.
    """
    locked = lock_room(connection, room_id)
    if locked is None:
        raise RoomNotFoundError(room_id)
    room, head = locked
    if seq > head.seq:
        raise StorageError(f"a snapshot of room {room_id!r} at seq {seq} is ahead of its log, which ends at {head.seq}")
    needed = set(manifest.values())
    if not needed - ready.keys() <= {*_stored_hashes(connection, room)}:
        return False
    new = sorted(needed & ready.keys())
    _drop_blobs(connection, room, new)
    if new:
        connection.execute(insert(blobs), [{"room": room, "hash": name, **ready[name]._asdict()} for name in new])
    connection.execute(delete(snapshots).where(snapshots.c.room == room, snapshots.c.seq == seq))
    connection.execute(
        insert(snapshots), {"room": room, "seq": seq, "manifest": json.dumps(manifest), "created_ms": now_ms}
    )
    expire(connection, room)
    return True


def expire(connection: Connection, room: int) -> None:
    """Keep the newest snapshots from which the log leads on, and what they refer to."""
    query = select(snapshots.c.seq, snapshots.c.manifest).where(snapshots.c.room == room)
    rows = connection.execute(query.order_by(snapshots.c.seq.desc())).all()
    dropped_seq = connection.execute(select(rooms.c.dropped_seq).where(rooms.c.key == room)).scalar_one()
    kept = [*rows[:1], *[row for row in rows[1:SNAPSHOTS_KEPT] if row.seq >= dropped_seq]]
    for row in rows:
        if row not in kept:
            connection.execute(delete(snapshots).where(snapshots.c.room == room, snapshots.c.seq == row.seq))
    referred = {name for row in kept for name in json.loads(row.manifest).values()}
    _drop_blobs(connection, room, sorted({*_stored_hashes(connection, room)} - referred))
    connection.execute(update(rooms).where(rooms.c.key == room).values(snapshot_seq=kept[0].seq))


def latest(
    connection: Connection, room_id: str, wanted: Sequence[str] | None = None, before_seq: int | None = None
) -> Found | None:
    """The newest snapshot (below ``before_seq``), or of these parts those that it has."""
    room = room_key(connection, room_id)
    query = select(snapshots.c.seq, snapshots.c.manifest).where(snapshots.c.room == room)
    if before_seq is not None:
        query = query.where(snapshots.c.seq < before_seq)
    row = connection.execute(query.order_by(snapshots.c.seq.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    whole: dict[str, str] = json.loads(row.manifest)
    manifest = {name: blob for name, blob in whole.items() if wanted is None or name in wanted}
    hashes = sorted(set(manifest.values()))
    stored = select(blobs.c.hash, blobs.c.data, blobs.c.place).where(blobs.c.room == room, blobs.c.hash.in_(hashes))
    return Found(
        row.seq, manifest, {name: Blob(bytes(data), place) for name, data, place in connection.execute(stored)}
    )


def places(connection: Connection, room: int) -> set[str]:
    """Where a room, by its key, has blobs outside; nowhere when it is gone."""
    return set(connection.scalars(select(blobs.c.place).where(blobs.c.room == room, blobs.c.place != "")))


def space(connection: Connection) -> str:
    """The name of this database's folder outside; in a transaction, which gives it one."""
    name = select(blob_space.c.name)
    if connection.scalar(name) is None:
        insert_if_new(connection, blob_space, {"key": 1, "name": secrets.token_hex(8)})
    return str(connection.scalar(name))


def decompress(blob: bytes, name: str) -> bytes:
    """The state of a blob.

    Raises:
        BlobLostError: It is not what its hash says.
    """
    try:
        state = zstandard.ZstdDecompressor().decompress(blob)
    except zstandard.ZstdError as error:
        raise BlobLostError(f"blob {name} is damaged: {error}") from error
    if content_hash(state) != name:
        raise BlobLostError(f"blob {name} is damaged: its contents have another hash")
    return state


def _stored_hashes(connection: Connection, room: int) -> Iterable[str]:
    return connection.scalars(select(blobs.c.hash).where(blobs.c.room == room))


def _drop_blobs(connection: Connection, room: int, names: Iterable[str]) -> None:
    for name in names:
        connection.execute(delete(blobs).where(blobs.c.room == room, blobs.c.hash == name))
