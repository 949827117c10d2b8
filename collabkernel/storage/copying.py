"""Copies rooms from the database that has their truth to another, row by row, as they are written to.

A log only grows, and its database has numbered it: a copy takes the rows behind the last one that it has, with their
seqs, sites, counters and stamps. No two writers can put them in another order, and a copy that was cut short anywhere
goes on from there. What may change (sites, snapshots, versions) is compared, and what differs is written.

Each transaction is small, and takes no lock where the truth is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, delete, insert, select, update

from collabkernel.errors import DifferenceError, LogDroppedError, MigrationError
from collabkernel.storage import leases, log, mirroring, standing
from collabkernel.storage.base import Lease, OpRow, Rest
from collabkernel.storage.mirroring import OF_FILES, OF_ROOMS, Row, Sides, Write, mirror
from collabkernel.storage.snapshots import Blob
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import COPY, HERE, LEFT
from collabkernel.storage.tables import blobs, ops, placement, rooms, snapshots

COPY_ROWS = 1000
"""Operations in one transaction of a copy: 20 ms in which other rooms of an SQLite file there wait."""
COPY_ATTEMPTS = 5
"""Compaction would have to drop what is being read, at each of them."""

_ROOM_VALUES = ("seq", "hlc", "created_ms", "updated_ms", "snapshot_seq", "dropped_seq", "purged_seq")
ROOM = ("id", *_ROOM_VALUES)
"""What a copy's row has of its room's."""

T = TypeVar("T")


class RoomValues(NamedTuple):
    """A room's row."""

    key: int
    standing: int
    values: dict[str, Any]
    """Of ``ROOM``."""

    @property
    def seq(self) -> int:
        """Head of its log."""
        return int(self.values["seq"])

    @property
    def dropped_seq(self) -> int:
        """Where its log begins."""
        return int(self.values["dropped_seq"])


def find_room(connection: Connection, room_id: str) -> RoomValues | None:
    """A room's row, however it stands."""
    row = connection.execute(
        select(rooms.c.key, rooms.c.standing, *(rooms.c[name] for name in ROOM)).where(rooms.c.id == room_id)
    ).one_or_none()
    return None if row is None else RoomValues(row.key, row.standing, dict(zip(ROOM, row[2:], strict=True)))


class Image(NamedTuple):
    """What a database has of a room at one moment, but for its log and what is large."""

    room: RoomValues
    pages: tuple[list[Row], ...]
    """Of each table of ``OF_ROOMS`` the first rows, ``PAGE_ROWS`` at most."""
    snapshots: list[Row]
    """Seq, manifest, when it was made."""
    blobs: set[str]
    """Hashes of those that are stored."""

    def whole(self, index: int) -> list[Row] | None:
        """All rows of a table; None where it has more, and has to be walked."""
        page = self.pages[index]
        return page if len(page) < mirroring.PAGE_ROWS else None

    def has_same(self, other: Image, index: int) -> bool:
        """Whether a table is seen to be the same in another image."""
        return self.whole(index) is not None and self.pages[index] == other.pages[index]


def find_image(connection: Connection, room_id: str) -> Image | None:
    """The image of a room; None where it is not known."""
    room = find_room(connection, room_id)
    if room is None:
        return None
    pages = tuple([mirroring.page(connection, table, room.key) for table in OF_ROOMS])
    return Image(room, pages, snapshot_rows(connection, room.key), stored_names(connection, room.key))


class Copier:
    """Copies from one database to another."""

    def __init__(self, truth: SqlStorage, copy: SqlStorage, lease: Lease, rest: Rest) -> None:
        """Copy as the holder of a lease of the copies' database; nobody else does. It rests between transactions."""
        self._truth = truth
        self._copy = copy
        self._lease = lease
        self._rest = rest

    async def copy_room(self, room_id: str) -> Image | None:
        """Bring a room's copy up to what its truth was when this began, and give that; None where there is none.

        Raises:
            DifferenceError: What is in the copy's log is not what was in the truth's.
            MigrationError: Both databases have it.
            StorageError: A database failed; what was copied stays.
        """
        for attempt in range(COPY_ATTEMPTS):
            try:
                return await self._copy_room(room_id)
            except LogDroppedError:
                if attempt == COPY_ATTEMPTS - 1:
                    raise
        raise AssertionError("not reached")

    async def _copy_room(self, room_id: str) -> Image | None:
        truth = await self._truth.read(partial(find_image, room_id=room_id))
        if truth is None:  # it was deleted
            await self._write(partial(_remove_copy_alone, room_id=room_id))
            return None
        if truth.room.standing == COPY:
            return None
        copy = await self._begun(room_id, truth.room)
        await self._copy_log(room_id, truth.room, copy.room)
        sides = Sides(self._truth, self._copy, truth.room.key, copy.room.key)
        write = self._write_to(partial(_lock, room=copy.room.key))
        for index, table in enumerate(OF_ROOMS):
            if not truth.has_same(copy, index):
                await mirror(table, sides, write, seen=truth.whole(index))
        if truth.snapshots != copy.snapshots or blob_names(truth.snapshots) - copy.blobs:
            await self._copy_snapshots(room_id, truth, copy)
        if copy.room.dropped_seq < truth.room.dropped_seq:
            while await self._write(partial(_drop_ops, room=copy.room.key, upto_seq=truth.room.dropped_seq)):
                pass
        if copy.room.values != truth.room.values:
            await self._write(partial(_finish, room=copy.room.key, values=truth.room.values))
        return truth

    async def _begun(self, room_id: str, truth: RoomValues) -> Image:
        """The copy, begun where it is none yet."""
        copy = await self._copy.read(partial(find_image, room_id=room_id))
        if copy is not None and copy.room.values["created_ms"] == truth.values["created_ms"]:
            await self._check_same(room_id, truth, copy.room)
            if copy.room.standing == COPY:
                return copy
        return await self._write(partial(_begin_copy, room_id=room_id, truth=truth))

    async def _copy_log(self, room_id: str, truth: RoomValues, copy: RoomValues) -> None:
        """Copy what the copy's log does not have."""
        seq = max(copy.seq, truth.dropped_seq)
        if copy.seq < seq:  # what is between will not come any more
            await self._write(partial(_skip, room=copy.key, seq=seq))
        while seq < truth.seq:
            chunk = partial(log.read_ops, room=truth.key, after_seq=seq, upto_seq=min(seq + COPY_ROWS, truth.seq))
            rows = await self._truth.read(chunk)
            if not rows:
                raise MigrationError(f"the log of room {room_id!r} has nothing behind {seq}, and should go on")
            await self._write(partial(_add_ops, room=copy.key, after_seq=seq, rows=rows))
            seq = rows[-1].seq

    async def copy_files(self) -> None:
        """Bring the copy of all files, and of what was saved there, up to what they are.

        Raises:
            MigrationError: They are no copy there.
        """
        sides, write = Sides(self._truth, self._copy), self._write_to(_lock_files)
        # First all that differs goes: halfway, two files could have the same path.
        for is_insert in (False, True):
            for table in OF_FILES:
                await mirror(table, sides, write, inserts=is_insert)

    async def _check_same(self, room_id: str, truth: RoomValues, copy: RoomValues) -> None:
        if copy.seq > truth.seq:
            raise DifferenceError(f"the copy of room {room_id!r} goes on to {copy.seq}, its truth to {truth.seq}")
        if copy.seq == truth.seq or copy.seq <= max(truth.dropped_seq, copy.dropped_seq):
            return  # nothing to be added to it, or nothing to be seen
        last = [
            (await database.read(partial(log.read_ops, room=room.key, after_seq=copy.seq - 1, upto_seq=copy.seq)))
            for database, room in ((self._truth, truth), (self._copy, copy))
        ]
        if last[0] != last[1]:
            raise DifferenceError(f"the copy of room {room_id!r} has another operation at {copy.seq} than its truth")

    async def _copy_snapshots(self, room_id: str, truth: Image, copy: Image) -> None:
        here, there = truth.room.key, copy.room.key
        for name in sorted(blob_names(truth.snapshots) - copy.blobs):
            blob = await self._truth.read(partial(_find_blob, room=here, name=name))
            if blob is None:  # it has expired since, and the snapshot with it
                raise LogDroppedError(room_id, 0, 0)
            data = await self._truth.snapshots.read_blob(blob, name)
            put = await self._copy.snapshots.put_blob(there, name, data)
            await self._write(partial(_insert_blob, room=there, name=name, blob=put))
        await self._write(partial(_set_snapshots, room=there, rows=truth.snapshots))

    def _write_to(self, lock: Callable[[Connection], object]) -> Write:
        """Runs transactions on what is locked first."""

        async def write(work: Callable[[Connection], None]) -> None:
            def run(connection: Connection) -> None:
                lock(connection)
                work(connection)

            await self._write(run)

        return write

    async def _write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction at the copy, as the one who may."""

        def run(connection: Connection) -> T:
            leases.check_newest(connection, self._lease)
            return work(connection)

        begun_s = time.monotonic()
        result = await self._copy.write(run, is_long=True)
        await self._rest(time.monotonic() - begun_s)
        return result


def snapshot_rows(connection: Connection, room: int) -> list[Row]:
    """A room's snapshots: seq, manifest, when it was made."""
    query = select(snapshots.c.seq, snapshots.c.manifest, snapshots.c.created_ms).where(snapshots.c.room == room)
    return [tuple(row) for row in connection.execute(query.order_by(snapshots.c.seq))]


def blob_names(rows: Sequence[Row]) -> set[str]:
    """Hashes of the blobs that these snapshots name."""
    return {name for _, manifest, _ in rows for name in json.loads(manifest).values()}


def stored_names(connection: Connection, room: int) -> set[str]:
    """Hashes of a room's blobs."""
    return set(connection.scalars(select(blobs.c.hash).where(blobs.c.room == room)))


def _find_blob(connection: Connection, room: int, name: str) -> Blob | None:
    query = select(blobs.c.data, blobs.c.place).where(blobs.c.room == room, blobs.c.hash == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else Blob(bytes(row.data), row.place)


# -- transactions at the copy


def _remove_copy_alone(connection: Connection, room_id: str) -> None:
    """Of a room that is gone; not one that was left here, which is as it was when it was moved."""
    connection.execute(delete(rooms).where(rooms.c.id == room_id, rooms.c.standing == COPY))


def _begin_copy(connection: Connection, room_id: str, truth: RoomValues) -> Image:
    copy = find_room(connection, room_id)
    if copy is not None and copy.standing == HERE:
        raise MigrationError(f"room {room_id!r} was made in both databases; nothing was done to either")
    if copy is not None and copy.standing == LEFT and truth.standing != HERE:
        raise MigrationError(f"room {room_id!r} was left by both databases; restore a backup of one")
    if copy is not None and copy.values["created_ms"] != truth.values["created_ms"]:  # deleted, and made again
        standing.remove_copy(connection, room_id)
        copy = None
    if copy is None:
        standing.insert_copy(connection, truth.values | {"seq": truth.dropped_seq, "snapshot_seq": 0})
    else:
        standing.change(connection, room_id, copy.standing, COPY)
    begun = find_image(connection, room_id)
    assert begun is not None, "it was there, or was inserted"
    return begun


def _lock(connection: Connection, room: int) -> int:
    """The seq that a copy has come to."""
    row = connection.execute(
        select(rooms.c.seq, rooms.c.standing).where(rooms.c.key == room).with_for_update()
    ).one_or_none()
    if row is None or row.standing != COPY:
        raise MigrationError("a room was moved or deleted while it was copied; do it again")
    return int(row.seq)


def _lock_files(connection: Connection) -> None:
    if connection.scalar(select(placement.c.files).with_for_update()) != COPY:
        raise MigrationError("the files were moved while they were copied; do it again")


def _set(connection: Connection, room: int, **values: object) -> None:
    connection.execute(update(rooms).where(rooms.c.key == room).values(**values))


def _skip(connection: Connection, room: int, seq: int) -> None:
    _lock(connection, room)
    _set(connection, room, seq=seq)


def _add_ops(connection: Connection, room: int, after_seq: int, rows: Sequence[OpRow]) -> None:
    if _lock(connection, room) != after_seq:
        raise MigrationError("somebody else copies this room; do it again")
    connection.execute(insert(ops), [{"room": room, **row._asdict()} for row in rows])
    _set(connection, room, seq=rows[-1].seq)


def _drop_ops(connection: Connection, room: int, upto_seq: int) -> bool:
    """Drop some of what compaction has taken from the truth; whether there was something."""
    _lock(connection, room)
    query = select(ops.c.seq).where(ops.c.room == room, ops.c.seq <= upto_seq).order_by(ops.c.seq).limit(COPY_ROWS)
    found = connection.scalars(query).all()
    if not found:
        return False
    connection.execute(delete(ops).where(ops.c.room == room, ops.c.seq <= found[-1]))
    return True


def _insert_blob(connection: Connection, room: int, name: str, blob: Blob) -> None:
    _lock(connection, room)
    connection.execute(insert(blobs), {"room": room, "hash": name, **blob._asdict()})


def _set_snapshots(connection: Connection, room: int, rows: Sequence[Row]) -> None:
    """Have these snapshots and no others, and no blobs that none names."""
    _lock(connection, room)
    connection.execute(delete(snapshots).where(snapshots.c.room == room))
    names = ("seq", "manifest", "created_ms")
    if rows:
        connection.execute(insert(snapshots), [{"room": room, **dict(zip(names, row, strict=True))} for row in rows])
    for name in sorted(stored_names(connection, room) - blob_names(rows)):
        connection.execute(delete(blobs).where(blobs.c.room == room, blobs.c.hash == name))


def _finish(connection: Connection, room: int, values: dict[str, Any]) -> None:
    """Let the row say what the truth's did."""
    if _lock(connection, room) != values["seq"]:
        raise MigrationError("somebody else copies this room; do it again")
    _set(connection, room, **{name: values[name] for name in _ROOM_VALUES})
