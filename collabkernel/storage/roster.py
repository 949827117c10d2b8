"""Sites and their refusals in SQL: who may append to a room, from which counter. Over a connection.

Each of these locks the room first, as an append does: when a resume has returned, no append of an older epoch is under
way any more.

To enter a site is one statement and a transaction by itself, past what SQLAlchemy does for a transaction: somebody
comes or comes back many times a second, and on SQLite everybody's edits wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    Connection,
    Executable,
    Table,
    bindparam,
    delete,
    exists,
    false,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from collabkernel.errors import RoomNotFoundError
from collabkernel.limits import FREE_SITES_MAX
from collabkernel.storage.base import Refusal, SiteRow
from collabkernel.storage.log import find_room, lock_room, room_key, site_heads
from collabkernel.storage.standing import HERE
from collabkernel.storage.tables import ops, refusals, rooms, sites

_NUMBERS_AT_ONCE = 500
"""Parameters of one statement; SQLite takes 999 in its older builds."""


def _entering(insert_into: Callable[[Table], Any]) -> Executable:
    """Enters a site at epoch 1, where its room is here and its number is free: it changes one row, or none."""
    given = {name: bindparam(name, type_=sites.c[name].type) for name in ("site", "actor", "kind", "secret_hash")}
    now_ms = bindparam("now_ms", type_=sites.c.created_ms.type)
    row = {
        **given,
        "room": rooms.c.key,
        "epoch": literal_column("1"),
        "refused_counter": literal_column("0"),
        "closed": false(),
        "created_ms": now_ms,
        "resumed_ms": now_ms,
    }
    is_here = (rooms.c.id == bindparam("room_id"), rooms.c.standing == HERE)
    entered = insert_into(sites).from_select([*row], select(*row.values()).where(*is_here).with_for_update())
    statement: Executable = entered.on_conflict_do_nothing()
    return statement


ENTER = {"sqlite": _entering(sqlite.insert), "postgresql": _entering(postgresql.insert)}
"""Takes ``room_id``, ``site``, ``actor``, ``kind``, ``secret_hash`` and ``now_ms``; by the kind of database."""


def is_taken(connection: Connection, room_id: str, site: int) -> bool:
    """Whether that is why a site was not entered.

    Raises:
        RoomNotFoundError: The room does not exist.
        MovedError: It is in another database.
    """
    if find_room(connection, room_id) is None:
        raise RoomNotFoundError(room_id)
    return find(connection, room_id, site) is not None


def free(connection: Connection, room_id: str, sites_max: int, unused_since_ms: int) -> int:
    """How many sites may still be entered; see ``Storage.free_sites``."""
    locked = lock_room(connection, room_id)
    if locked is None:
        raise RoomNotFoundError(room_id)
    room, _ = locked
    count = connection.execute(select(func.count()).select_from(sites).where(sites.c.room == room)).scalar_one()
    if sites_max - count < FREE_SITES_MAX:
        count -= _drop_unused(connection, room, unused_since_ms)
    return min(max(sites_max - count, 0), FREE_SITES_MAX)


def _drop_unused(connection: Connection, room: int, unused_since_ms: int) -> int:
    wrote = exists().where(ops.c.room == sites.c.room, ops.c.site == sites.c.site)
    unused = (
        select(sites.c.site)
        .where(
            sites.c.room == room,
            sites.c.resumed_ms < unused_since_ms,
            sites.c.refused_counter == 0,
            sites.c.dropped_counter == 0,
            ~wrote,
        )
        .limit(FREE_SITES_MAX)
    )
    numbers = connection.execute(unused).scalars().all()
    for i in range(0, len(numbers), _NUMBERS_AT_ONCE):
        part = numbers[i : i + _NUMBERS_AT_ONCE]
        connection.execute(delete(sites).where(sites.c.room == room, sites.c.site.in_(part)))
    return len(numbers)


def find(connection: Connection, room_id: str, site: int) -> SiteRow | None:
    """The site, or None."""
    room = room_key(connection, room_id)
    if room is None:
        return None
    heads = site_heads(connection, [(room, site)])
    if not heads:
        return None
    head = heads[room, site]
    row = connection.execute(
        select(sites.c.actor, sites.c.kind, sites.c.secret_hash).where(sites.c.room == room, sites.c.site == site)
    ).one()
    return SiteRow(
        room_id, site, row.actor, row.kind, head.epoch, bytes(row.secret_hash), head.last_counter, head.closed
    )


def resume(connection: Connection, room_id: str, site: int, now_ms: int) -> SiteRow | None:
    """Raise the site's epoch and return it; None when it is unknown or closed."""
    locked = lock_room(connection, room_id)
    if locked is None:
        return None
    room, _ = locked
    raised = connection.execute(
        update(sites)
        .where(sites.c.room == room, sites.c.site == site, sites.c.closed.is_(False))
        .values(epoch=sites.c.epoch + 1, resumed_ms=now_ms)
    )
    return find(connection, room_id, site) if raised.rowcount == 1 else None


def refuse(connection: Connection, room_id: str, site: int, epoch: int, refusal: Refusal) -> bool:
    """Store a final refusal and advance the site's last counter over it; False when fenced or out of order."""
    locked = lock_room(connection, room_id)
    if locked is None:
        return False
    room, _ = locked
    head = site_heads(connection, [(room, site)]).get((room, site))
    if head is None or head.closed or head.epoch != epoch:
        return False
    if refusal.counter != head.last_counter + 1:
        return _stored_refusal(connection, room, site, refusal.counter) == refusal
    connection.execute(
        insert(refusals),
        {
            "room": room,
            "site": site,
            "counter": refusal.counter,
            "ops_count": refusal.ops_count,
            "code": refusal.code,
            "reason": refusal.reason,
        },
    )
    connection.execute(
        update(sites)
        .where(sites.c.room == room, sites.c.site == site)
        .values(refused_counter=refusal.counter + refusal.ops_count - 1)
    )
    return True


def _stored_refusal(connection: Connection, room: int, site: int, counter: int) -> Refusal | None:
    row = connection.execute(
        select(refusals.c.counter, refusals.c.ops_count, refusals.c.code, refusals.c.reason).where(
            refusals.c.room == room, refusals.c.site == site, refusals.c.counter == counter
        )
    ).one_or_none()
    return None if row is None else Refusal(*row)
