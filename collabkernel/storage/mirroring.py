"""Makes tables the same in two databases whose rows may change: what differs is written, page by page, by key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Column, Connection, Table, and_, delete, insert, select, tuple_

from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.tables import files, refusals, save_bases, saves, sites, versions

PAGE_ROWS = 2000
"""Rows that are compared at once."""

T = TypeVar("T")
Row = tuple[Any, ...]
Write = Callable[[Callable[[Connection], None]], Awaitable[None]]
"""Runs a transaction at the copy, if it is one."""


class Mirrored(NamedTuple):
    """A table that is made the same in both databases, or its rows of one room."""

    table: Table
    keys: tuple[Column[Any], ...]
    values: tuple[Column[Any], ...]
    """What is compared, the keys first."""
    heavy: tuple[Column[Any], ...] = ()
    """What goes with them, read one row at a time."""

    def key_of(self, row: Row) -> Row:
        """Its key."""
        return row[: len(self.keys)]


def _mirrored(table: Table, *keys: str, heavy: tuple[str, ...] = ()) -> Mirrored:
    columns = [table.c[name] for name in keys]
    columns += [each for each in table.columns if each.name not in {"room", *keys, *heavy}]
    return Mirrored(table, tuple(columns[: len(keys)]), tuple(columns), tuple(table.c[name] for name in heavy))


OF_ROOMS = (
    _mirrored(sites, "site"),
    _mirrored(refusals, "site", "counter"),
    _mirrored(versions, "seq", heavy=("data",)),
)
OF_FILES = (
    _mirrored(files, "id"),
    _mirrored(saves, "file", "view"),
    # A row that changed has taken its base along, which is of the same save.
    _mirrored(save_bases, "file", "view", heavy=("data",)),
)


def page(
    connection: Connection, of: Mirrored, room: int | None, after: Row | None = None, upto: Row | None = None
) -> list[Row]:
    """The next rows by key, of a room or all: at most ``PAGE_ROWS``, or up to a key."""
    query = select(*of.values).order_by(*of.keys)
    if room is not None:
        query = query.where(of.table.c.room == room)
    if after is not None:
        query = query.where(tuple_(*of.keys) > after)
    query = query.limit(PAGE_ROWS) if upto is None else query.where(tuple_(*of.keys) <= upto)
    return [tuple(row) for row in connection.execute(query)]


class Sides(NamedTuple):
    """Where a table is."""

    truth: SqlStorage
    copy: SqlStorage
    truth_room: int | None = None
    """The room's key; None for all rows."""
    copy_room: int | None = None


async def mirror(
    table: Mirrored, sides: Sides, write: Write, *, seen: list[Row] | None = None, inserts: bool = True
) -> None:
    """Make the copy's rows those of the truth.

    Args:
        table: The table.
        sides: The databases.
        write: How the copy is written to.
        seen: All rows that the truth had; None to read them.
        inserts: Whether rows come; without, what differs goes.
    """
    after: Row | None = None
    while True:
        wanted, there, upto = await _pages(table, sides, after, seen)
        gone = {table.key_of(row) for row in set(there) - set(wanted)}
        if gone:
            await write(partial(_delete, of=table, room=sides.copy_room, keys=gone))
        known = set(there)
        new = [row for row in wanted if row not in known] if inserts else []
        await _insert(table, sides, write, new)
        if upto is None:
            return
        after = upto


async def first_difference(table: Mirrored, sides: Sides, *, seen: list[Row] | None = None) -> str:
    """The first row that differs, in words; empty for none."""
    after: Row | None = None
    while True:
        wanted, there, upto = await _pages(table, sides, after, seen)
        mine, its = {table.key_of(row): row for row in wanted}, {table.key_of(row): row for row in there}
        differing = sorted(key for key in mine.keys() | its.keys() if mine.get(key) != its.get(key))
        if differing:
            key = differing[0]
            return f"{table.table.name}: {_told(table, key, mine.get(key), its.get(key))}"
        if upto is None:
            return ""
        after = upto


async def heavy_difference(table: Mirrored, sides: Sides) -> str:
    """The first row whose large contents differ, of those that are in both; empty for none."""
    after: Row | None = None
    while table.heavy:
        _, there, after = await _pages(table, sides, after, None)
        for key in map(table.key_of, there):
            mine = await _heavy(sides.truth, table, sides.truth_room, key)
            its = await _heavy(sides.copy, table, sides.copy_room, key)
            if mine is not None and its is not None and mine != its:
                return f"{table.table.name}: {_named(table, key)} differs in {table.heavy[0].name}"
        if after is None:
            break
    return ""


async def _pages(
    table: Mirrored, sides: Sides, after: Row | None, seen: list[Row] | None
) -> tuple[list[Row], list[Row], Row | None]:
    """A page of the truth, all that the copy has in its range, and where it ends; None for the last one."""
    if seen is not None:
        wanted = seen
    else:
        wanted = await sides.truth.read(partial(page, of=table, room=sides.truth_room, after=after))
    if seen is None and len(wanted) == PAGE_ROWS:
        upto = table.key_of(wanted[-1])
        there = await sides.copy.read(partial(page, of=table, room=sides.copy_room, after=after, upto=upto))
        return wanted, there, upto
    there = []
    while True:
        rows = await sides.copy.read(partial(page, of=table, room=sides.copy_room, after=after))
        there += rows
        if len(rows) < PAGE_ROWS:
            return wanted, there, None
        after = table.key_of(rows[-1])


async def _insert(table: Mirrored, sides: Sides, write: Write, rows: Sequence[Row]) -> None:
    if rows and not table.heavy:
        await write(partial(_add, of=table, room=sides.copy_room, rows=rows))
    for row in rows if table.heavy else ():
        heavy = await _heavy(sides.truth, table, sides.truth_room, table.key_of(row))
        if heavy is not None:  # otherwise it went meanwhile
            await write(partial(_add, of=table, room=sides.copy_room, rows=[(*row, *heavy)]))


async def _heavy(database: SqlStorage, of: Mirrored, room: int | None, key: Row) -> Row | None:
    query = select(*of.heavy).where(_is(of, key))
    if room is not None:
        query = query.where(of.table.c.room == room)

    def read(connection: Connection) -> Row | None:
        row = connection.execute(query).one_or_none()
        return None if row is None else tuple(row)

    return await database.read(read)


def _is(of: Mirrored, key: Row) -> Any:
    return and_(*(column == value for column, value in zip(of.keys, key, strict=True)))


def _delete(connection: Connection, of: Mirrored, room: int | None, keys: set[Row]) -> None:
    for key in sorted(keys):
        gone = delete(of.table).where(_is(of, key))
        connection.execute(gone if room is None else gone.where(of.table.c.room == room))


def _add(connection: Connection, of: Mirrored, room: int | None, rows: Sequence[Row]) -> None:
    names = [column.name for column in (*of.values, *of.heavy)]
    scope = {} if room is None else {"room": room}
    connection.execute(insert(of.table), [scope | dict(zip(names, row, strict=True)) for row in rows])


def _told(of: Mirrored, key: Row, mine: Row | None, its: Row | None) -> str:
    if mine is None or its is None:
        return f"{_named(of, key)} is in {'the truth' if its is None else 'the copy'} alone"
    names = [c.name for c, one, other in zip(of.values, mine, its, strict=True) if one != other]
    return f"{_named(of, key)} differs in {', '.join(names)}"


def _named(of: Mirrored, key: Row) -> str:
    return ", ".join(f"{column.name} {value}" for column, value in zip(of.keys, key, strict=True))
