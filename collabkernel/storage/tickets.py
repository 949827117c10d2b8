"""One-use tickets in SQL: issued at one server, spent once at any. Over a connection."""

from __future__ import annotations

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, delete, func, insert, literal_column, select

from collabkernel.storage.base import TicketRow
from collabkernel.storage.leases import NOW_MS
from collabkernel.storage.tables import tickets

SWEPT_MAX = 100
"""Tickets that go when another one is issued: more than come, and a millisecond's work."""

_COLUMNS = (tickets.c.room, tickets.c.actor, tickets.c.user, tickets.c.role, tickets.c.origin)


def issue(connection: Connection, ticket: TicketRow, tickets_max: int) -> int:
    """Keep a ticket; when it expires, by the database's clock."""
    now = _now(connection)
    count, oldest_ms, now_ms = connection.execute(
        select(func.count(), func.coalesce(func.min(tickets.c.expires_ms), 0), now).select_from(tickets)
    ).one()
    if count and oldest_ms <= now_ms:
        count -= _drop(connection, _oldest(SWEPT_MAX).where(tickets.c.expires_ms <= now_ms))
    if count >= tickets_max:
        surplus = min(count - tickets_max + 1, SWEPT_MAX)
        _drop(connection, _oldest(surplus).where(tickets.c.actor == _greediest().scalar_subquery()))
    expires_ms = int(now_ms) + ticket.ttl_ms
    connection.execute(insert(tickets).values((*ticket[:-1], expires_ms)))
    return expires_ms


def spend(connection: Connection, digest: bytes) -> TicketRow | None:
    """Take a ticket away, in one statement: whoever comes second, at whichever server, finds none."""
    now = _now(connection)
    taken = delete(tickets).where(tickets.c.digest == digest).returning(*_COLUMNS, tickets.c.expires_ms - now)
    row = connection.execute(taken).one_or_none()
    return None if row is None else TicketRow(digest, *row)


def _now(connection: Connection) -> ColumnElement[int]:
    return literal_column(NOW_MS[connection.dialect.name], BigInteger)


def _oldest(rows_max: int) -> Select[tuple[bytes]]:
    """Of those that no other server drops just now."""
    return select(tickets.c.digest).order_by(tickets.c.expires_ms).limit(rows_max).with_for_update(skip_locked=True)


def _greediest() -> Select[tuple[str]]:
    return select(tickets.c.actor).group_by(tickets.c.actor).order_by(func.count().desc(), tickets.c.actor).limit(1)


def _drop(connection: Connection, found: Select[tuple[bytes]]) -> int:
    # Found first: PostgreSQL may run a subquery with a LIMIT more than once, and each time lock other rows.
    digests = connection.scalars(found).all()
    if digests:
        connection.execute(delete(tickets).where(tickets.c.digest.in_(digests)))
    return len(digests)
