"""The op log in SQL: reading rooms and operations, and the append transaction. Plain functions over a connection.

The append locks the rooms of the batch first: ``SELECT ... FOR UPDATE`` on PostgreSQL, in the order of their keys so
that two servers cannot deadlock; on SQLite ``BEGIN IMMEDIATE`` has done it. So what it reads stays true.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSON

from collabkernel.errors import LogDroppedError, MovedError
from collabkernel.limits import READ_BYTES_MAX, READ_ROWS_MAX
from collabkernel.storage.append import (
    AppendPlan,
    RoomHead,
    SiteHead,
    SiteKey,
    answer_from_log,
    fault_in,
    is_storable_text,
    plan_append,
)
from collabkernel.storage.base import Appended, AppendRequest, OpRow, OriginRow, Refusal, RoomRow
from collabkernel.storage.statements import AlchemyStatements, Statements
from collabkernel.storage.tables import ops, refusals, rooms, sites

_ROOM_NUMBERS = ("seq", "hlc", "created_ms", "updated_ms", "snapshot_seq", "dropped_seq")
_ROOM_ROW = tuple(rooms.c[name] for name in ("id", *_ROOM_NUMBERS))
_OP_ROW = tuple(ops.c[name] for name in OpRow._fields)

_HEAD = (rooms.c.seq, rooms.c.hlc, rooms.c.standing, rooms.c.purged_seq)
_LOCK_ROOM = select(rooms.c.key, *_HEAD).where(rooms.c.id == bindparam("id")).with_for_update()
_GROW_ROOM = (
    update(rooms)
    .where(rooms.c.key == bindparam("room"))
    .values(
        seq=bindparam("new_seq"),
        hlc=bindparam("new_hlc"),
        purged_seq=bindparam("new_purged_seq"),
        updated_ms=bindparam("now_ms"),
    )
)
_INSERT_OPS = insert(ops)
_IN_RANGE = (ops.c.room == bindparam("room"), ops.c.seq > bindparam("after_seq"), ops.c.seq <= bindparam("upto_seq"))
_READ_OPS = select(*_OP_ROW).where(*_IN_RANGE).order_by(ops.c.seq)
_OP_AT = (
    select(*_OP_ROW)
    .join(rooms, rooms.c.key == ops.c.room)
    .where(rooms.c.id == bindparam("id"), ops.c.seq == bindparam("at"))
)
_STORED_COUNTER = (
    select(func.max(ops.c.counter)).where(ops.c.room == sites.c.room, ops.c.site == sites.c.site).scalar_subquery()
)
_SITE_HEAD = (sites.c.epoch, sites.c.refused_counter, _STORED_COUNTER, sites.c.dropped_counter, sites.c.closed)
_HEADS_OF_ONE = (
    select(rooms.c.key, *_HEAD, *_SITE_HEAD)
    .outerjoin_from(rooms, sites, and_(sites.c.room == rooms.c.key, sites.c.site == bindparam("site")))
    .where(rooms.c.id == bindparam("id"))
)
_COVERING_REFUSAL = (
    select(refusals.c.counter)
    .where(
        refusals.c.room == bindparam("room"),
        refusals.c.site == bindparam("site"),
        refusals.c.counter <= bindparam("counter"),
        refusals.c.counter + refusals.c.ops_count > bindparam("counter"),
    )
    .limit(literal_column("1"))
)
_PAYLOAD_BYTES = select(func.coalesce(func.sum(func.length(ops.c.payload)), 0)).where(*_IN_RANGE)


def _is_asked(dialect: str, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a row's columns are one of the keys in the parameter ``keys``, a JSON array of arrays.

    One parameter, however many keys: the statement's text stays the same, so that it is prepared once. And SQLite walks
    an index for it; for ``(a, b) IN (VALUES ...)`` it reads the whole table.
    """
    members: list[ColumnElement[Any]]
    keys = bindparam("keys", type_=Text)
    if dialect == "sqlite":
        each = func.json_each(keys).table_valued("value")
        members = [func.json_extract(each.c.value, literal_column(f"'$[{i}]'")) for i in range(len(columns))]
    else:
        each = func.json_array_elements(cast(keys, JSON)).table_valued(column("value", JSON))
        members = [cast(each.c.value[i].astext, column_.type) for i, column_ in enumerate(columns)]
    return tuple_(*columns).in_(select(*members))


class _Statements:
    """The statements that take many keys."""

    def __init__(self, dialect: str) -> None:
        self.lock_rooms = (
            select(rooms.c.key, rooms.c.id, *_HEAD)
            .where(_is_asked(dialect, rooms.c.id))
            .order_by(rooms.c.key)
            .with_for_update()
        )
        self.site_heads = select(sites.c.room, sites.c.site, *_SITE_HEAD).where(
            _is_asked(dialect, sites.c.room, sites.c.site)
        )
        self.find_ops = select(ops.c.room, ops.c.site, ops.c.counter, ops.c.seq, ops.c.hlc).where(
            _is_asked(dialect, ops.c.room, ops.c.site, ops.c.counter)
        )
        self.find_refusals = select(
            refusals.c.room,
            refusals.c.site,
            refusals.c.counter,
            refusals.c.ops_count,
            refusals.c.code,
            refusals.c.reason,
        ).where(_is_asked(dialect, refusals.c.room, refusals.c.site, refusals.c.counter))
        self.find_dropped = (
            select(sites.c.room, sites.c.site, sites.c.dropped_counter, rooms.c.dropped_seq)
            .join(rooms, rooms.c.key == sites.c.room)
            .where(sites.c.dropped_counter > 0, _is_asked(dialect, sites.c.room, sites.c.site))
        )
        self.origins = select(*(ops.c[name] for name in OriginRow._fields)).where(
            _is_asked(dialect, ops.c.room, ops.c.site, ops.c.counter)
        )
        self.actors = select(sites.c.site, sites.c.actor).where(_is_asked(dialect, sites.c.room, sites.c.site))
        self.heads = select(rooms.c.id, rooms.c.seq).where(_is_asked(dialect, rooms.c.id))


_STATEMENTS = {dialect: _Statements(dialect) for dialect in ("sqlite", "postgresql")}


def find_room(connection: Connection, room_id: str) -> RoomRow | None:
    """The room, or None.

    Raises:
        MovedError: It is in another database.
    """
    row = connection.execute(select(*_ROOM_ROW, rooms.c.standing).where(rooms.c.id == room_id)).one_or_none()
    if row is None:
        return None
    *values, standing = row
    _check_here(room_id, standing)
    return RoomRow(*values)


def _check_here(room_id: str, standing: int) -> None:
    if standing:
        raise MovedError(f"room {room_id!r}")


def list_rooms(connection: Connection, limit: int, after: str) -> list[RoomRow]:
    """Rooms by id, of those that are here."""
    query = select(*_ROOM_ROW).where(rooms.c.id > after, rooms.c.standing == 0).order_by(rooms.c.id).limit(limit)
    return [RoomRow(*row) for row in connection.execute(query)]


def room_key(connection: Connection, room_id: str) -> int | None:
    """The integer that the other tables know the room by."""
    return connection.scalar(select(rooms.c.key).where(rooms.c.id == room_id))


def lock_room(connection: Connection, room_id: str) -> tuple[int, RoomHead] | None:
    """The room's key and head, unchanged by anybody else until this transaction ends.

    Raises:
        MovedError: It is in another database.
    """
    row = connection.execute(_LOCK_ROOM, {"id": room_id}).one_or_none()
    if row is None:
        return None
    _check_here(room_id, row.standing)
    return row.key, RoomHead(row.seq, row.hlc)


def heads(connection: Connection, room_ids: Sequence[str]) -> dict[str, int]:
    """Heads of the rooms that exist, by id."""
    asked = _keys((room_id,) for room_id in room_ids if is_storable_text(room_id))
    return {row.id: row.seq for row in connection.execute(_STATEMENTS[connection.dialect.name].heads, asked)}


def site_heads(connection: Connection, keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], SiteHead]:
    """How far sites have come, by (room key, site)."""
    return _site_heads(AlchemyStatements(connection), keys)


def _site_heads(statements: Statements, keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], SiteHead]:
    rows = statements.rows(_STATEMENTS[statements.dialect].site_heads, _keys(keys))
    return {
        (room, site): SiteHead(epoch, max(refused, stored or 0, dropped), bool(closed))
        for room, site, epoch, refused, stored, dropped, closed in rows
    }


def read_ops(connection: Connection, room: int, after_seq: int, upto_seq: int) -> list[OpRow]:
    """The next chunk of a room's log, in seq order; as the driver's plain tuples, which saves a third of the time.

    Raises:
        LogDroppedError: If what comes first was dropped.
    """
    chunk = {"room": room, "after_seq": after_seq, "upto_seq": min(upto_seq, after_seq + READ_ROWS_MAX)}
    # The database knows lengths without reading the payloads: 10 ms for 100,000.
    while chunk["upto_seq"] > after_seq + 1 and connection.scalars(_PAYLOAD_BYTES, chunk).one() > READ_BYTES_MAX:
        chunk["upto_seq"] = (after_seq + chunk["upto_seq"]) // 2
    result = connection.execute(_READ_OPS, chunk)
    try:
        rows = list(map(OpRow._make, result.cursor.fetchall()))
    finally:
        result.close()
    if not rows or rows[0].seq != after_seq + 1:
        _check_not_dropped(connection, room, max(after_seq, 0))
    return rows


def op_at(connection: Connection, room_id: str, seq: int) -> OpRow | None:
    """The operation at ``seq``; None of one that is not there, or not any more."""
    row = connection.execute(_OP_AT, {"id": room_id, "at": seq}).one_or_none()
    return None if row is None else OpRow(*row)


def _check_not_dropped(connection: Connection, room: int, after_seq: int) -> None:
    row = connection.execute(select(rooms.c.id, rooms.c.dropped_seq).where(rooms.c.key == room)).one_or_none()
    if row is not None and row.dropped_seq > after_seq:
        raise LogDroppedError(row.id, after_seq, row.dropped_seq)


def seq_before(connection: Connection, room_id: str, hlc: int) -> int:
    """The seq before the first operation that is stamped over ``hlc``: a walk over the log up to there."""
    room = find_room(connection, room_id)
    if room is None:
        return 0
    key = room_key(connection, room_id)
    later = select(ops.c.seq).where(ops.c.room == key, ops.c.hlc > hlc).order_by(ops.c.seq).limit(1)
    first: int | None = connection.scalar(later)
    return room.seq if first is None else first - 1


def origins(connection: Connection, room_id: str, asked: Sequence[tuple[int, int]]) -> list[OriginRow]:
    """Who made operations, and when; of those in the log."""
    room = room_key(connection, room_id)
    if room is None:
        return []
    statement = _STATEMENTS[connection.dialect.name].origins
    keys = _keys((room, site, counter) for site, counter in dict.fromkeys(asked))
    return [OriginRow(*row) for row in connection.execute(statement, keys)]


def actors(connection: Connection, room_id: str, asked: Sequence[int]) -> dict[int, str]:
    """Who writes as each of some sites."""
    room = room_key(connection, room_id)
    if room is None:
        return {}
    statement = _STATEMENTS[connection.dialect.name].actors
    rows = connection.execute(statement, _keys((room, site) for site in dict.fromkeys(asked)))
    return {row.site: row.actor for row in rows}


def find_envelope(connection: Connection, room_id: str, site: int, counter: int) -> Appended | Refusal | None:
    """What the log or the refusals have at a counter."""
    room = room_key(connection, room_id)
    if room is None:
        return None
    return _find_envelopes(AlchemyStatements(connection), [(room, site, counter)]).get((room, site, counter))


def _find_envelopes(
    statements: Statements, keys: Sequence[tuple[int, int, int]]
) -> dict[tuple[int, int, int], Appended | Refusal]:
    """What the log or the refusals have, by (room key, site, counter)."""
    queries = _STATEMENTS[statements.dialect]
    found: dict[tuple[int, int, int], Appended | Refusal] = {
        (room, site, counter): Appended(seq, hlc, duplicate=True)
        for room, site, counter, seq, hlc in statements.rows(queries.find_ops, _keys(keys))
    }
    if len(found) < len(set(keys)):
        for room, site, counter, *refused in statements.rows(queries.find_refusals, _keys(keys)):
            found[room, site, counter] = Refusal(counter, *refused)
    if len(found) < len(set(keys)):
        found |= _find_dropped(statements, set(keys) - found.keys())
    return found


def _find_dropped(
    statements: Statements, keys: set[tuple[int, int, int]]
) -> dict[tuple[int, int, int], Appended | Refusal]:
    """Those that were in the log before it was dropped; the rest of a refused envelope never was."""
    asked = _keys(sorted({(room, site) for room, site, _ in keys}))
    rows = statements.rows(_STATEMENTS[statements.dialect].find_dropped, asked)
    dropped = {(room, site): (last_counter, horizon) for room, site, last_counter, horizon in rows}
    found: dict[tuple[int, int, int], Appended | Refusal] = {}
    for room, site, counter in keys:
        last_counter, horizon = dropped.get((room, site), (0, 0))
        is_asked = {"room": room, "site": site, "counter": counter}
        if 1 <= counter <= last_counter and not statements.rows(_COVERING_REFUSAL, is_asked):
            found[room, site, counter] = Appended(horizon, 0, duplicate=True)
    return found


def append_batch(statements: Statements, batch: Sequence[AppendRequest], now_ms: int) -> AppendPlan:
    """Store what can be stored of a batch; every answer is in the plan, and true once the transaction is committed."""
    stored = statements.append_next(batch, now_ms)
    if stored is not None:
        return AppendPlan(answers=[*stored])
    key_by_id, room_heads, site_heads = _locked_one(statements, batch) or _locked(statements, batch)
    plan = plan_append(batch, room_heads, site_heads)
    _answer_from_log(statements, batch, plan, key_by_id)
    if plan.heads:
        grown = [
            {
                "room": key_by_id[room_id],
                "new_seq": head.seq,
                "new_hlc": head.hlc,
                "new_purged_seq": head.purged_seq,
                "now_ms": now_ms,
            }
            for room_id, head in plan.heads.items()
        ]
        statements.run_each(_GROW_ROOM, grown)
        statements.run_each(_INSERT_OPS, list(_op_parameters(plan, key_by_id)))
    return plan


class _Locked(NamedTuple):
    """What a batch meets, unchanged by anybody else until the transaction ends."""

    key_by_id: dict[str, int]
    room_heads: dict[str, RoomHead]
    site_heads: dict[SiteKey, SiteHead]


def _locked_one(statements: Statements, batch: Sequence[AppendRequest]) -> _Locked | None:
    """The same in one query without JSON, for a batch of one site: on SQLite, where BEGIN has locked everything.

    It is what somebody who types asks for: of 250 us of an append, 100.
    """
    room_id, site = batch[0].room_id, batch[0].site
    is_of_one = all(request.site == site and request.room_id == room_id for request in batch)
    if statements.dialect != "sqlite" or not is_of_one or fault_in(batch[0]) is not None:
        return None
    found = statements.rows(_HEADS_OF_ONE, {"id": room_id, "site": site})
    if not found:
        return _Locked({}, {}, {})
    ((key, seq, hlc, standing, purged_seq, epoch, *counters, closed),) = found
    key_by_id, room_heads = {room_id: key}, {room_id: RoomHead(seq, hlc, bool(standing), purged_seq)}
    if epoch is None:
        return _Locked(key_by_id, room_heads, {})
    last_counter = max([counter or 0 for counter in counters])
    return _Locked(key_by_id, room_heads, {(room_id, site): SiteHead(epoch, last_counter, bool(closed))})


def _locked(statements: Statements, batch: Sequence[AppendRequest]) -> _Locked:
    room_ids = {request.room_id for request in batch if is_storable_text(request.room_id)}
    rows = statements.rows(_STATEMENTS[statements.dialect].lock_rooms, _keys((room_id,) for room_id in room_ids))
    key_by_id = {room_id: key for key, room_id, *_ in rows}
    room_heads = {room_id: RoomHead(seq, hlc, bool(moved), purged) for _, room_id, seq, hlc, moved, purged in rows}
    return _Locked(key_by_id, room_heads, _site_heads_of(statements, batch, key_by_id))


def _site_heads_of(
    statements: Statements, batch: Sequence[AppendRequest], key_by_id: dict[str, int]
) -> dict[SiteKey, SiteHead]:
    id_by_key = {key: room_id for room_id, key in key_by_id.items()}
    keys = {(key_by_id[request.room_id], request.site) for request in batch if request.room_id in key_by_id}
    return {(id_by_key[room], site): head for (room, site), head in _site_heads(statements, sorted(keys)).items()}


def _answer_from_log(
    statements: Statements, batch: Sequence[AppendRequest], plan: AppendPlan, key_by_id: dict[str, int]
) -> None:
    if not plan.unanswered:
        return
    keys = {i: (key_by_id[batch[i].room_id], batch[i].site, batch[i].counter) for i in plan.unanswered}
    found = _find_envelopes(statements, sorted(keys.values()))
    for i, last_counter in plan.unanswered.items():
        plan.answers[i] = answer_from_log(batch[i], found.get(keys[i]), last_counter)


def _op_parameters(plan: AppendPlan, key_by_id: dict[str, int]) -> Iterator[dict[str, Any]]:
    for room_id, rows in plan.rows.items():
        room = key_by_id[room_id]
        for row in rows:
            yield {"room": room, **row._asdict()}


def _keys(keys: Iterable[tuple[int | str, ...]]) -> dict[str, str]:
    return {"keys": json.dumps(list(keys))}
