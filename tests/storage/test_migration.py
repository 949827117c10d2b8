"""Rooms are copied, compared, and moved to another database and back, also after it was cut short anywhere."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from collabkernel.errors import LeaseLostError, MigrationError, MovedError, StorageError
from collabkernel.storage import migration as module
from collabkernel.storage.base import Appended, NotAppended
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import SHARES, share_of
from tests.contract.authors import NOW_MS, Author, enter
from tests.storage.test_schema import make_postgres_database
from tests.storage.two_databases import ROOMS, differences, fill, fill_files, migrating, store, whole_log_behind

pytestmark = pytest.mark.anyio


async def switch(old: SqlStorage, new: SqlStorage, end_share: int) -> set[str]:
    """What was moved, after which both have the same."""
    async with migrating(old, new) as work:
        await work.catch_up()
        moved = {room_id async for room_id in work.switch(end_share)}
        assert work.failures == {}
        await work.catch_up()
        found = await differences(work)
    assert not any(found.values()), found
    return moved


async def check_goes_on(storage: SqlStorage, room_id: str, counter: int) -> None:
    """A room is whole in a database, and its author goes on there."""
    row = await storage.head(room_id)
    assert row is not None
    log = [op async for rows in storage.read_ops(room_id, row.dropped_seq) for op in rows]
    assert [op.seq for op in log] == list(range(row.dropped_seq + 1, row.seq + 1))
    latest = await storage.latest_snapshot(room_id)
    assert latest is not None
    assert latest.parts["live"] == b"state"
    assert await storage.version_state(room_id, row.seq - 3) == b"as it was"
    site = await storage.site(room_id, 8)
    assert site is not None
    assert (site.epoch, site.last_counter) == (2, 3)
    assert site.secret_hash == bytes(range(32))
    author = Author(room_id, 7, counter=counter)
    assert await store(storage, author.next()) == row.seq + 1


@pytest.fixture(
    params=["to postgres", *[pytest.param(each, marks=pytest.mark.long) for each in ("sqlite", "from postgres")]]
)
async def pair(
    request: pytest.FixtureRequest, storage: SqlStorage, new: SqlStorage
) -> AsyncIterator[tuple[SqlStorage, SqlStorage]]:
    """Two databases, of one kind and of two."""
    if request.param == "sqlite":
        yield storage, new
        return
    server = request.getfixturevalue("postgres_url")
    name = request.param.replace(" ", "_")
    await make_postgres_database(server, name)
    postgres = SqlStorage(server.replace("/postgres?", f"/{name}?"))
    await postgres.open()
    yield (storage, postgres) if request.param == "to postgres" else (postgres, new)
    await postgres.close()


async def test_all_of_a_room_moves_and_comes_back(pair: tuple[SqlStorage, SqlStorage]):
    old, new = pair
    await fill(old)
    file_id = await fill_files(old)
    row = await old.head("plan")
    assert row is not None

    assert await switch(old, new, SHARES) == {"plan", ""}

    assert await new.head("plan") == row
    with pytest.raises(MovedError):
        await old.head("plan")
    assert await old.list_rooms() == []
    await check_goes_on(new, "plan", counter=30)
    assert (await new.file_by_id(file_id)) == (await old.file_by_id(file_id))
    assert await new.saved_base(file_id, "text") == b"b"
    with pytest.raises(MovedError):
        await old.file_by_path("c.ipynb", create=True, now_ms=NOW_MS)
    log = await whole_log_behind(new)

    assert await switch(old, new, 0) == {"plan", ""}

    assert await whole_log_behind(old) == log
    author = Author("plan", 7, counter=31)
    assert await store(old, author.next()) == row.seq + 2
    assert await old.file_by_path("c.ipynb", create=True, now_ms=NOW_MS)


async def test_a_database_that_has_not_the_room_refuses_it_with_a_code(storage: SqlStorage, new: SqlStorage):
    author = await fill(storage)
    before = await whole_log_behind(storage)

    await switch(storage, new, SHARES)

    (refused,) = await storage.append([author.next()])
    assert isinstance(refused, NotAppended)
    assert refused.code == "moved"
    mixed = await storage.append([author.at(1), author.next()])
    assert [each.code for each in mixed if isinstance(each, NotAppended)] == ["moved", "moved"], "a resend too"
    for write in (
        storage.new_site("plan", 9, "ann", 1, bytes(32), NOW_MS),
        storage.resume_site("plan", 7, NOW_MS),
        storage.free_sites("plan", 10, NOW_MS),
        storage.save_version("plan", 12, "", b"", NOW_MS),
        storage.drop_ops("plan", 6),
        storage.delete_room("plan"),
        storage.create_room("plan", NOW_MS),
    ):
        with pytest.raises(MovedError):
            await write
    assert await whole_log_behind(new) == before


@pytest.mark.long
async def test_each_share_of_rooms_is_where_it_belongs(storage: SqlStorage, new: SqlStorage):
    for room_id in ROOMS:
        await storage.create_room(room_id, NOW_MS)
    half = sorted(map(share_of, ROOMS))[3]

    moved = await switch(storage, new, half)

    assert moved == {room_id for room_id in ROOMS if share_of(room_id) < half}
    assert len(moved) == 3
    assert {row.room_id for row in await new.list_rooms()} == moved
    assert {row.room_id for row in await storage.list_rooms()} == set(ROOMS) - moved
    for n in range(4):
        name = f"later-{n}"
        right, wrong = (new, storage) if share_of(name) < half else (storage, new)
        assert (await right.create_room(name, NOW_MS)).seq == 0
        with pytest.raises(MovedError):
            await wrong.create_room(name, NOW_MS)
    assert await switch(storage, new, half) == set(), "again is nothing"


class KilledError(Exception):
    """The process that migrates is gone."""


class Dying:
    """A storage that lets so many transactions through, and then none: as by a kill between two."""

    def __init__(self, storage: SqlStorage, allowed: Callable[[], bool]) -> None:
        self._storage = storage
        self._allowed = allowed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def write(self, work: Callable[[Connection], Any], **options: Any) -> Any:
        """As the storage does, or not at all."""
        if not self._allowed():
            raise KilledError
        return await self._storage.write(work, **options)


async def killed_run(old: SqlStorage, new: SqlStorage, end_share: int, writes: int) -> bool:
    """A run that is killed after so many transactions; whether it ended before."""
    left = writes

    def allowed() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    try:
        async with module.migration(Dying(old, allowed), Dying(new, allowed)) as work:  # type: ignore[arg-type]
            assert work is not None
            await work.catch_up()
            async for _ in work.switch(end_share):
                pass
    except KilledError:
        return False
    return True


@pytest.mark.parametrize("kills", [2, pytest.param(300, marks=pytest.mark.long)])
async def test_it_goes_on_after_a_kill_at_any_moment(
    storage: SqlStorage, new: SqlStorage, kills: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LEASE_MS", 1)
    monkeypatch.setattr("collabkernel.storage.copying.COPY_ROWS", 7)
    rng = random.Random(int(os.environ.get("COLLABKERNEL_MIGRATE_SEED", "1")))
    authors = {room_id: await fill(storage, room_id, ops=30) for room_id in ROOMS[:2]}
    await fill_files(storage)
    stored = dict.fromkeys(authors, 32)
    for _ in range(kills):
        await killed_run(storage, new, rng.choice([0, 3000, SHARES]), rng.randrange(1, 50))
        for room_id, author in authors.items():
            answers = [(await each.append([author.at(author.counter + 1)]))[0] for each in (storage, new)]
            appended = [each for each in answers if isinstance(each, Appended)]
            assert len(appended) <= 1, "in both databases"
            if appended:
                author.counter += 1
                stored[room_id] += 1
                assert appended[0].seq == stored[room_id], "it goes on behind what was stored"

    await switch(storage, new, SHARES)

    for room_id, author in authors.items():
        assert [op.seq for op in await whole_log_behind(new, room_id)][-1] == stored[room_id]
        assert await store(new, author.next()) == stored[room_id] + 1


async def test_what_cannot_be_migrated_is_told(storage: SqlStorage, new: SqlStorage):
    await enter(new, "own")
    with pytest.raises(MigrationError, match="rooms or files of its own"):
        async with migrating(storage, new):
            pass
    with pytest.raises(MigrationError, match="one database"):
        async with migrating(storage, storage):
            pass
    await new.delete_room("own")
    await fill(storage)
    await switch(storage, new, 5000)
    with pytest.raises(MigrationError, match="exchange the two URLs"):
        async with migrating(new, storage):
            pass
    async with migrating(storage, new) as work:
        with pytest.raises(MigrationError, match="switch 100 percent first"):
            await work.finish()
        async with module.migration(storage, new) as second:
            assert second is None
    await switch(storage, new, SHARES)
    async with migrating(storage, new) as work:
        await work.finish()
    with pytest.raises(MigrationError, match="rooms or files of its own"):
        async with migrating(storage, new):
            pass


async def test_who_has_lost_the_lease_changes_nothing(storage: SqlStorage, new: SqlStorage):
    author = await fill(storage)
    async with migrating(storage, new) as work:
        await work.catch_up()
        await new.write(lambda each: each.execute(text("UPDATE leases SET token = token + 1")))
        await store(storage, author.next())
        with pytest.raises(LeaseLostError):
            await work.follow()
        with pytest.raises(StorageError):
            async for _ in work.switch(SHARES):
                pass
