"""Versions in SQL: states of a room that stay when the log before them is dropped. Over a connection."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from collabkernel.errors import RoomNotFoundError
from collabkernel.storage.base import Lease, VersionBounds, VersionRow
from collabkernel.storage.leases import check_newest
from collabkernel.storage.log import lock_room, room_key
from collabkernel.storage.rules import check_seq, surplus
from collabkernel.storage.tables import versions

_VERSION_ROW = tuple(versions.c[name] for name in VersionRow._fields)


def save(
    connection: Connection,
    room_id: str,
    seq: int,
    name: str,
    data: bytes,
    made_ms: int,
    bounds: VersionBounds,
    lease: Lease | None,
) -> None:
    """Keep a state, and drop what is too much."""
    check_newest(connection, lease)
    locked = lock_room(connection, room_id)
    if locked is None:
        raise RoomNotFoundError(room_id)
    room, head = locked
    check_seq(room_id, seq, head.seq)
    here = (versions.c.room == room) & (versions.c.seq == seq)
    if connection.scalar(select(versions.c.seq).where(here)) is None:
        row = {"room": room, "seq": seq, "name": name, "created_ms": made_ms, "size_bytes": len(data), "data": data}
        connection.execute(insert(versions), row)
    elif name:
        connection.execute(update(versions).where(here).values(name=name))
    for gone in surplus(_rows(connection, room), bounds):
        connection.execute(delete(versions).where(versions.c.room == room, versions.c.seq == gone.seq))


def list_all(connection: Connection, room_id: str) -> list[VersionRow]:
    """A room's versions, oldest first."""
    room = room_key(connection, room_id)
    return [] if room is None else _rows(connection, room)


def state(connection: Connection, room_id: str, seq: int) -> bytes | None:
    """The compressed state of one, or None."""
    room = room_key(connection, room_id)
    data = connection.scalar(select(versions.c.data).where(versions.c.room == room, versions.c.seq == seq))
    return None if data is None else bytes(data)


def _rows(connection: Connection, room: int) -> list[VersionRow]:
    query = select(*_VERSION_ROW).where(versions.c.room == room).order_by(versions.c.seq)
    return [VersionRow(*row) for row in connection.execute(query)]
