"""Leases in SQL: who may do something that only one server may do at a time. Over a connection.

Time is the database's clock, the same for all servers. A token is higher than every earlier one of that name, released
ones too: what is written under an older token is refused, however late it comes.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, Select, bindparam, case, delete, func, or_, select, text, update

from collabkernel.errors import LeaseLostError
from collabkernel.limits import LEASE_EXPIRED_KEPT_MS
from collabkernel.storage.base import Lease
from collabkernel.storage.inserts import insert_if_new
from collabkernel.storage.tables import leases

NOW_MS = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
}
"""The database's clock. PostgreSQL's ``now()`` would be when the transaction began, before it waited for a lock."""
_TAKE = (
    "UPDATE leases SET holder = :holder, token = token + 1, expires_ms = {now} + :ttl_ms"
    " WHERE name = :name AND (holder = :holder OR expires_ms <= {now}) RETURNING token, expires_ms"
)
_COUNTER = ""
"""No lease has this name."""
_TTL_MS = bindparam("ttl_ms", type_=BigInteger)
SWEPT_AT_ONCE = 500
"""Leases that go with one that is released: each is a parameter of a statement, which takes some thousands."""


def acquire(connection: Connection, name: str, holder: str, ttl_ms: int) -> Lease | None:
    """Take a lease that is free, expired, or the holder's own; None when somebody else has it."""
    taken = _take(connection, name, holder, ttl_ms)
    if taken is None and connection.scalar(select(leases.c.token).where(leases.c.name == name)) is None:
        _insert(connection, name, _locked_counter(connection))
        taken = _take(connection, name, holder, ttl_ms)
    return taken


def _take(connection: Connection, name: str, holder: str, ttl_ms: int) -> Lease | None:
    statement = _TAKE.format(now=NOW_MS[connection.dialect.name])
    parameters = {"name": name, "holder": holder, "ttl_ms": ttl_ms}
    taken = connection.execute(text(statement).bindparams(_TTL_MS), parameters).one_or_none()
    return None if taken is None else Lease(name, holder, taken.token, taken.expires_ms)


def renew(connection: Connection, lease: Lease, ttl_ms: int) -> Lease | None:
    """The lease for longer; None when it is lost."""
    now_ms = _now_ms(connection)
    renewed = connection.execute(
        update(leases)
        .where(leases.c.name == lease.name, leases.c.token == lease.token, leases.c.holder == lease.holder)
        .where(leases.c.expires_ms > now_ms)
        .values(expires_ms=now_ms + ttl_ms)
    )
    return Lease(lease.name, lease.holder, lease.token, now_ms + ttl_ms) if renewed.rowcount == 1 else None


def release(connection: Connection, lease: Lease) -> None:
    """Let others have it at once; nothing when it is lost already. Leases that expired long ago go with it."""
    counter = _locked_counter(connection)
    is_own = (leases.c.name == lease.name) & (leases.c.token == lease.token)
    is_old = leases.c.expires_ms < _now_ms(connection) - LEASE_EXPIRED_KEPT_MS
    is_going = or_(is_own, is_old) & (leases.c.name != _COUNTER)
    # Its own first: of the others there may be thousands, after a server died.
    order = (case((is_own, 0), else_=1), leases.c.name)
    query = select(leases.c.name, leases.c.token).where(is_going).order_by(*order).limit(SWEPT_AT_ONCE)
    going = connection.execute(query.with_for_update()).all()
    if not going:
        return
    highest = max([counter, *[row.token for row in going]])
    connection.execute(update(leases).where(leases.c.name == _COUNTER).values(token=highest))
    connection.execute(delete(leases).where(leases.c.name.in_([row.name for row in going])))


def highest_token(connection: Connection) -> int:
    """Of all leases that there are and were."""
    return int(connection.scalar(select(func.coalesce(func.max(leases.c.token), 0))) or 0)


def forget_all(connection: Connection, token: int, but: str) -> None:
    """Let nobody have a lease but one, and those that are made from now on have higher tokens than this."""
    highest = max(token, highest_token(connection), _locked_counter(connection))
    connection.execute(update(leases).where(leases.c.name == _COUNTER).values(token=highest))
    connection.execute(delete(leases).where(leases.c.name.not_in([_COUNTER, but])))


def _locked_counter(connection: Connection) -> int:
    """The highest token of all rows that went. Until the end of the transaction no row goes and none is made."""
    query = select(leases.c.token).where(leases.c.name == _COUNTER).with_for_update()
    if connection.scalar(query) is None:
        _insert(connection, _COUNTER, 0)
    return int(connection.scalars(query).one())


def _insert(connection: Connection, name: str, token: int) -> None:
    insert_if_new(connection, leases, {"name": name, "holder": "", "token": token, "expires_ms": 0})


def holds(connection: Connection, lease: Lease) -> bool:
    """Whether nobody can have it but this holder."""
    row = connection.execute(_row_of(lease)).one_or_none()
    return row is not None and row.expires_ms > _now_ms(connection)


def is_newest(connection: Connection, lease: Lease) -> bool:
    """Whether nobody has had it since, and it was not released; it may have expired. Stays true in this transaction."""
    return connection.execute(_row_of(lease).with_for_update()).one_or_none() is not None


def check_newest(connection: Connection, lease: Lease | None) -> None:
    """Go on only as the newest holder of a lease; None asks for none.

    Raises:
        LeaseLostError: If it is somebody else.
    """
    if lease is not None and not is_newest(connection, lease):
        raise LeaseLostError(lease.name)


def _row_of(lease: Lease) -> Select[tuple[int]]:
    return select(leases.c.expires_ms).where(
        leases.c.name == lease.name, leases.c.token == lease.token, leases.c.holder == lease.holder
    )


def _now_ms(connection: Connection) -> int:
    return int(connection.scalar(text(f"SELECT {NOW_MS[connection.dialect.name]}")) or 0)
