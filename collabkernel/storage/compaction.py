"""Dropping the old end of a room's log in SQL, and what a database takes. Over a connection."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, func, select, text, update

from collabkernel.errors import RoomNotFoundError
from collabkernel.storage import snapshots
from collabkernel.storage.base import Lease
from collabkernel.storage.leases import check_newest
from collabkernel.storage.log import lock_room
from collabkernel.storage.rules import horizon_of
from collabkernel.storage.tables import ops, rooms, sites

CHUNK_ROWS = 500
"""Operations dropped in one transaction: other rooms' appends wait for it some 10 ms."""

_KEEP_COUNTER = (
    update(sites)
    .where(sites.c.room == bindparam("room_"), sites.c.site == bindparam("site_"))
    .values(dropped_counter=bindparam("counter_"))
)


_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


def size_bytes(connection: Connection) -> int:
    """What the database takes on its disk."""
    return int(connection.scalar(text(_SIZE[connection.dialect.name])) or 0)


def drop_chunk(connection: Connection, room_id: str, upto_seq: int, lease: Lease | None) -> tuple[int, bool]:
    """Drop the oldest operations up to a seq, as many as one transaction may; how many, and whether that was all."""
    check_newest(connection, lease)
    locked = lock_room(connection, room_id)
    if locked is None:
        raise RoomNotFoundError(room_id)
    room, _ = locked
    snapshot_seq, dropped_seq = connection.execute(
        select(rooms.c.snapshot_seq, rooms.c.dropped_seq).where(rooms.c.key == room)
    ).one()
    horizon = horizon_of(room_id, upto_seq, snapshot_seq)
    end = min(horizon, dropped_seq + CHUNK_ROWS)
    if end <= dropped_seq:
        return 0, True
    _keep_counters(connection, room, end)
    gone = connection.execute(delete(ops).where(ops.c.room == room, ops.c.seq <= end)).rowcount
    connection.execute(update(rooms).where(rooms.c.key == room).values(dropped_seq=end))
    if end == horizon:
        snapshots.expire(connection, room)
    return gone, end == horizon


def _keep_counters(connection: Connection, room: int, upto_seq: int) -> None:
    """Sites go on behind their last counter, and resends are known, when the log no longer says so."""
    query = select(ops.c.site, func.max(ops.c.counter)).where(ops.c.room == room, ops.c.seq <= upto_seq)
    last = [
        {"room_": room, "site_": site, "counter_": counter}
        for site, counter in connection.execute(query.group_by(ops.c.site))
    ]
    if last:
        connection.execute(_KEEP_COUNTER, last)
