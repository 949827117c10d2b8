"""Snapshots in SQL: a manifest a snapshot, and compressed blobs that a room's snapshots share. Over a connection.

A blob belongs to one room: two rooms that hold the same bytes tell each other nothing, and a room is deleted whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

import zstandard
from sqlalchemy import Connection, delete, insert, select, update

from collabkernel.errors import RoomNotFoundError, StorageError
from collabkernel.storage.log import lock_room, room_key
from collabkernel.storage.tables import blobs, rooms, snapshots

SNAPSHOTS_KEPT = 2
"""The newest, and the one before it in case the newest is damaged."""
_ZSTD_LEVEL = 3
"""zstd's own default: about 300 MB/s."""


def content_hash(state: bytes) -> str:
    """The name of a part's blob: SHA-256 in hexadecimal."""
    return hashlib.sha256(state).hexdigest()


def compress(parts: Iterable[bytes]) -> dict[str, bytes]:
    """Blobs by content hash. Takes milliseconds a megabyte: not for the loop's thread."""
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    return {content_hash(state): compressor.compress(state) for state in parts}


def missing_blobs(connection: Connection, room_id: str, hashes: Iterable[str]) -> set[str]:
    """Those of these blobs that the room does not have yet."""
    room = room_key(connection, room_id)
    return set(hashes) - ({*_stored_hashes(connection, room)} if room is not None else set())


def save(
    connection: Connection, room_id: str, seq: int, manifest: Mapping[str, str], data: Mapping[str, bytes], now_ms: int
) -> bool:
    """Write a snapshot, drop the oldest, and drop blobs that none refers to.

    Args:
        connection: In a transaction.
        room_id: The room.
        seq: Where in the log the state was taken.
        manifest: Partition to content hash.
        data: The blobs that the room did not have a moment ago, by content hash.
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
    missing = set(manifest.values()) - {*_stored_hashes(connection, room)}
    if not missing <= data.keys():
        return False
    if missing:
        connection.execute(
            insert(blobs), [{"room": room, "hash": name, "data": data[name]} for name in sorted(missing)]
        )
    connection.execute(delete(snapshots).where(snapshots.c.room == room, snapshots.c.seq == seq))
    connection.execute(
        insert(snapshots), {"room": room, "seq": seq, "manifest": json.dumps(manifest), "created_ms": now_ms}
    )
    _expire(connection, room)
    return True


def latest(
    connection: Connection, room_id: str, wanted: Sequence[str] | None = None
) -> tuple[int, dict[str, bytes]] | None:
    """Seq and parts of the newest snapshot, or of these parts those that it has.

    Raises:
        StorageError: If a blob is missing or is not what its hash says.
    """
    room = room_key(connection, room_id)
    row = connection.execute(
        select(snapshots.c.seq, snapshots.c.manifest)
        .where(snapshots.c.room == room)
        .order_by(snapshots.c.seq.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    whole: dict[str, str] = json.loads(row.manifest)
    manifest = {name: blob for name, blob in whole.items() if wanted is None or name in wanted}
    hashes = sorted(set(manifest.values()))
    query = select(blobs.c.hash, blobs.c.data).where(blobs.c.room == room, blobs.c.hash.in_(hashes))
    data = {name: bytes(blob) for name, blob in connection.execute(query)}
    return row.seq, {partition: _decompress(room_id, data.get(name), name) for partition, name in manifest.items()}


def _decompress(room_id: str, blob: bytes | None, name: str) -> bytes:
    if blob is None:
        raise StorageError(f"a snapshot of room {room_id!r} lacks its blob {name}; the database is damaged")
    try:
        state = zstandard.ZstdDecompressor().decompress(blob)
    except zstandard.ZstdError as error:
        raise StorageError(f"blob {name} of room {room_id!r} is damaged: {error}") from error
    if content_hash(state) != name:
        raise StorageError(f"blob {name} of room {room_id!r} is damaged: its contents have another hash")
    return state


def _stored_hashes(connection: Connection, room: int) -> Iterable[str]:
    return connection.scalars(select(blobs.c.hash).where(blobs.c.room == room))


def _expire(connection: Connection, room: int) -> None:
    """Keep the newest snapshots and what they refer to."""
    query = select(snapshots.c.seq, snapshots.c.manifest).where(snapshots.c.room == room)
    rows = connection.execute(query.order_by(snapshots.c.seq.desc())).all()
    kept, expired = rows[:SNAPSHOTS_KEPT], rows[SNAPSHOTS_KEPT:]
    for row in expired:
        connection.execute(delete(snapshots).where(snapshots.c.room == room, snapshots.c.seq == row.seq))
    referred = {name for row in kept for name in json.loads(row.manifest).values()}
    for name in sorted({*_stored_hashes(connection, room)} - referred):
        connection.execute(delete(blobs).where(blobs.c.room == room, blobs.c.hash == name))
    connection.execute(update(rooms).where(rooms.c.key == room).values(snapshot_seq=kept[0].seq))
