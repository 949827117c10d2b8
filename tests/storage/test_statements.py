"""What sites send next, stored in one statement: by PostgreSQL's function and by SQLite's trigger alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from collabkernel.storage import log
from collabkernel.storage.base import Appended, AppendRequest
from collabkernel.storage.database import Database
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import HERE, LEFT
from collabkernel.storage.statements import Statements
from collabkernel.storage.tables import refusals, rooms, sites
from tests.contract.authors import HLC, NOW_MS, Author, enter, rows_of, whole_log
from tests.storage.conftest import opened

pytestmark = pytest.mark.anyio

ROOM, OTHER = "statements", "statements too"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, path: Path) -> str:
    """The database's; PostgreSQL is begun when it is the first of its tests."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{path}"


@pytest.fixture
async def storage(url: str) -> AsyncIterator[SqlStorage]:
    """It holds rooms of these two names while a test runs."""
    storage = SqlStorage(url)
    await storage.open()
    yield storage
    for room_id in (ROOM, OTHER):
        await storage.delete_room(room_id)
    await storage.close()


@pytest.fixture
async def database(url: str, storage: SqlStorage) -> AsyncIterator[Database]:
    """Another server's connection to the same."""
    del storage
    async with opened(url) as database:
        yield database


async def append_next(database: Database, *batch: AppendRequest) -> list[Appended] | None:
    return await database.append(lambda on: on.append_next(batch, NOW_MS))


async def key_of(database: Database, room_id: str = ROOM) -> int:
    key = await database.read(partial(log.room_key, room_id=room_id))
    assert key is not None
    return key


async def stand(database: Database, room: int, standing: int) -> None:
    change = update(rooms).where(rooms.c.key == room).values(standing=standing)
    await database.write(lambda connection: connection.execute(change))


async def test_they_are_stored_in_order_with_the_head_of_the_room(storage: SqlStorage, database: Database):
    ann, bob = await enter(storage, ROOM, 7), await enter(storage, ROOM, 8)
    batch = [ann.next(2), bob.next(3), ann.next(1, hlc=HLC + 9)]

    stored = await append_next(database, *batch)

    assert stored == [Appended(1, HLC), Appended(3, HLC), Appended(6, HLC + 9)]
    rows = [row for request, answer in zip(batch, stored, strict=True) for row in rows_of(request, answer)]
    assert await whole_log(storage, ROOM) == rows
    head = await storage.head(ROOM)
    assert head is not None
    assert (head.seq, head.hlc, head.updated_ms) == (6, HLC + 9, NOW_MS)


async def test_several_rooms_go_in_together_and_each_goes_on_from_its_own_head(storage: SqlStorage, database: Database):
    ann, bob = await enter(storage, ROOM), await enter(storage, OTHER)
    await storage.append([ann.next(4)])

    first = await append_next(database, ann.next(), bob.next(2), ann.next(3), bob.next())
    later = await append_next(database, bob.next(), ann.next())

    assert first == [Appended(5, HLC), Appended(1, HLC), Appended(6, HLC), Appended(3, HLC)]
    assert later == [Appended(4, HLC), Appended(9, HLC)]
    assert [row.seq for row in await whole_log(storage, ROOM)] == [*range(1, 10)]
    assert [row.seq for row in await whole_log(storage, OTHER)] == [*range(1, 5)]


async def test_what_another_server_stores_in_between_is_found(storage: SqlStorage, database: Database):
    ann, bob = await enter(storage, ROOM, 7), await enter(storage, ROOM, 8)
    assert await append_next(database, ann.next())

    await storage.append([bob.next(2)])
    requests = [ann.next(), ann.next()]
    answers = [answer for request in requests for answer in [*await storage_append(database, request)]]

    assert answers == [Appended(4, HLC), Appended(5, HLC)]
    assert [(row.site, row.seq) for row in await whole_log(storage, ROOM)] == [(7, 1), (8, 2), (8, 3), (7, 4), (7, 5)]


async def storage_append(database: Database, request: AppendRequest) -> list[object]:
    """As a storage appends: the general way where this one does not go."""
    plan = await database.append(lambda on: log.append_batch(on, [request], NOW_MS))
    return list(plan.answers)


def odd_one(odd: str, bob: Author) -> AppendRequest:
    return {
        "a gap": bob.at(3),
        "sent again": bob.at(1),
        "behind a refusal": bob.at(2),
        "fenced": replace(bob.at(2), epoch=2),
        "closed": bob.at(2),
        "moved": bob.at(2),
        "unknown": replace(bob.at(2), site=9),
        "elsewhere": replace(bob.at(2), room_id="nowhere"),
        "not storable": replace(bob.at(2), actor="\0"),
        "judged before a purge": replace(bob.at(2), purged_seq=1),
        "a purge": replace(bob.at(2), is_purge=True),
    }[odd]


@pytest.mark.parametrize(
    "odd",
    [
        "a gap",
        "sent again",
        "behind a refusal",
        "fenced",
        "closed",
        "unknown",
        "elsewhere",
        "moved",
        "not storable",
        "judged before a purge",
        "a purge",
    ],
)
async def test_one_that_is_not_what_its_site_sends_next_leaves_all_to_the_general_way(
    storage: SqlStorage, database: Database, odd: str
):
    ann, bob = await enter(storage, ROOM, 7), await enter(storage, ROOM, 8)
    assert await append_next(database, bob.next())
    room = await key_of(database)
    if odd == "closed":
        close = update(sites).where(sites.c.room == room, sites.c.site == 8).values(closed=True)
        await database.write(lambda connection: connection.execute(close))
    if odd == "moved":
        await stand(database, room, LEFT)
    if odd == "behind a refusal":
        refused = update(sites).where(sites.c.room == room, sites.c.site == 8).values(refused_counter=2)
        await database.write(lambda connection: connection.execute(refused))

    stored = await append_next(database, ann.next(), odd_one(odd, bob))

    await stand(database, room, HERE)
    assert stored is None
    assert [row.site for row in await whole_log(storage, ROOM)] == [8]


async def test_a_room_that_was_made_anew_begins_anew(storage: SqlStorage, database: Database):
    ann = await enter(storage, ROOM)
    assert await append_next(database, ann.next(3))

    await storage.delete_room(ROOM)
    again = await enter(storage, ROOM)
    request = again.next()
    stored = await append_next(database, request) or await storage_append(database, request)

    assert stored == [Appended(1, HLC)]
    assert len(await whole_log(storage, ROOM)) == 1


def refuse(room: int, statements: Statements) -> None:
    statements.run_each(
        insert(refusals),
        [{"room": room, "site": 7, "counter": 9, "ops_count": 1, "code": "rate", "reason": ""}],
    )


async def test_it_goes_on_behind_a_transaction_of_the_general_way(storage: SqlStorage, database: Database):
    ann = await enter(storage, ROOM)
    room = await key_of(database)

    await database.append(partial(refuse, room))

    assert await append_next(database, ann.next()) == [Appended(1, HLC)]
    assert len(await whole_log(storage, ROOM)) == 1
