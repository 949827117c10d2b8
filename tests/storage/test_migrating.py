"""A server's storage while rooms move: they are found where they are, and nothing is stored twice or lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collabkernel.errors import DegradedError
from collabkernel.storage import migrating as module
from collabkernel.storage import standing
from collabkernel.storage.base import Appended, NotAppended, TicketRow
from collabkernel.storage.migrating import MigratingStorage
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import COPY, HERE, LEFT, SHARES, share_of
from tests.bounds import HANG_S
from tests.contract.authors import NOW_MS, Author, enter, whole_log
from tests.storage.two_databases import ROOMS, fill_files, migrating, store

pytestmark = pytest.mark.anyio

TICKET = TicketRow(b"d" * 32, "plan", "ann", "{}", 1, "", 60_000)


@pytest.fixture(autouse=True)
def follows_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's copies are brought up to date by the tests."""
    monkeypatch.setattr(module, "FOLLOW_S", HANG_S)


@pytest.fixture
async def server(storage: SqlStorage, new: SqlStorage, path: Path, tmp_path: Path) -> AsyncIterator[MigratingStorage]:
    """A server that knows both."""
    del storage, new
    server = MigratingStorage(*[SqlStorage(f"sqlite:///{each}") for each in (path, tmp_path / "new.db")])
    await server.open()
    yield server
    await server.close()


async def switch(old: SqlStorage, new: SqlStorage, end_share: int) -> set[str]:
    async with migrating(old, new) as work:
        await work.catch_up()
        moved = {room_id async for room_id in work.switch(end_share)}
        assert work.failures == {}
        return moved


async def close_room(old: SqlStorage, new: SqlStorage, room_id: str) -> None:
    """The first steps of a move, whose end does not come."""
    async with migrating(old, new) as work:
        await work.catch_up()
    assert await old.write(lambda each: standing.change(each, room_id, HERE, LEFT))


async def write(server: MigratingStorage, author: Author, done: asyncio.Event) -> list[int]:
    seqs = []
    while not done.is_set():
        seqs.append(await store(server, author.next()))
        await asyncio.sleep(0.01)  # a loop without it keeps SQLite's lock from who migrates
    return seqs


@pytest.mark.long
async def test_who_writes_notices_nothing_while_rooms_move_and_come_back(
    server: MigratingStorage, storage: SqlStorage, new: SqlStorage
):
    authors = [await enter(server, room_id, site=site) for room_id in ROOMS[:2] for site in (7, 8)]
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(write(server, author, done)) for author in authors]
        for end_share in (SHARES, 0):
            assert await switch(storage, new, end_share) == {*ROOMS[:2], ""}
        done.set()

    for n, room_id in enumerate(ROOMS[:2]):
        seqs = [seq for writer in writers[2 * n : 2 * n + 2] for seq in writer.result()]
        assert sorted(seqs) == list(range(1, len(seqs) + 1)), "each once"
        log = await whole_log(server, room_id)
        assert [op.seq for op in log] == sorted(seqs)
        assert await whole_log(storage, room_id) == log
        assert await server.heads([room_id]) == {room_id: len(log)}


async def test_a_batch_for_both_databases_is_stored_in_each(
    server: MigratingStorage, storage: SqlStorage, new: SqlStorage
):
    authors = [await enter(server, room_id) for room_id in ROOMS]
    half = sorted(map(share_of, ROOMS))[3]
    await switch(storage, new, half)

    answers = await server.append([*[author.next(2) for author in authors], Author("nowhere", 7).next()])

    assert answers[:-1] == [Appended(1, answers[0].hlc)] * len(ROOMS)  # type: ignore[union-attr]
    assert isinstance(answers[-1], NotAppended)
    assert answers[-1].code == "room-not-found"
    assert [row.room_id for row in await server.list_rooms()] == ROOMS
    assert [row.room_id for row in await server.list_rooms(2, ROOMS[1])] == ROOMS[2:4]
    for n in range(4):
        await server.create_room(f"later-{n}", NOW_MS)
        right = new if share_of(f"later-{n}") < half else storage
        assert await right.head(f"later-{n}") == await server.head(f"later-{n}")
    for room_id in (min(ROOMS, key=share_of), max(ROOMS, key=share_of)):
        assert await server.delete_room(room_id)
        assert await server.head(room_id) is None
        assert not await server.delete_room(room_id)
        assert (await server.create_room(room_id, NOW_MS)).seq == 0


async def test_who_meets_a_room_that_is_being_moved_waits_and_then_asks_again(
    server: MigratingStorage, storage: SqlStorage, new: SqlStorage, monkeypatch: pytest.MonkeyPatch
):
    author, other = await enter(server), await enter(server, "other")
    await store(server, author.next())
    await close_room(storage, new, "plan")
    monkeypatch.setattr(module, "MOVING_S", 0.1)

    answers = await server.append([author.at(2), other.next()])

    assert [getattr(each, "code", "") for each in answers] == ["degraded", ""]
    with pytest.raises(DegradedError, match="being moved for long"):
        await server.head("plan")
    monkeypatch.setattr(module, "MOVING_S", HANG_S)
    waiting = asyncio.create_task(server.append([author.next()]))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    async with migrating(storage, new):  # which ends what was begun
        pass
    assert await waiting == [Appended(2, answers[1].hlc)]  # type: ignore[union-attr]


async def test_files_leases_and_tickets_are_where_the_files_are(
    server: MigratingStorage, storage: SqlStorage, new: SqlStorage
):
    file_id = await fill_files(server)
    lease = await server.acquire_lease("keeper", "one", 60_000)
    assert lease is not None
    await server.issue_ticket(TICKET, 10)

    assert await switch(storage, new, SHARES) == {""}

    assert await server.saved_base(file_id, "text") == b"b"
    assert not await server.record_save(file_id, lease, view="text", hash="i", seq=4, base=b"c", now_ms=NOW_MS)
    assert not await server.holds_lease(lease)
    later = await server.acquire_lease("keeper", "two", 60_000)
    assert later is not None
    assert later.token > lease.token
    assert await server.record_save(file_id, later, view="text", hash="i", seq=4, base=b"c", now_ms=NOW_MS)
    assert await server.spend_ticket(TICKET.digest) is not None
    assert await server.spend_ticket(TICKET.digest) is None
    assert await server.acquire_lease("compaction", "one", 1) is None
    await switch(storage, new, 0)
    assert await server.saved_base(file_id, "text") == b"c"
    assert not await server.record_save(file_id, lease, view="text", hash="j", seq=5, base=b"d", now_ms=NOW_MS)
    moved = await server.move_file("a.ipynb", "c.ipynb", NOW_MS)
    assert [row.file_id for row in moved] == [file_id]


@pytest.fixture
def follows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait between two rounds."""
    monkeypatch.setattr(module, "FOLLOW_S", 0.02)
    monkeypatch.setattr(module, "FOLLOW_SHARE", 1)


async def follows(database: SqlStorage, seq: int) -> None:
    async with asyncio.timeout(HANG_S):
        while await database.read(lambda each: standing.find(each, "plan")) != (COPY, seq):  # noqa: ASYNC110  # another task's, in a database
            await asyncio.sleep(0.02)


@pytest.mark.long
@pytest.mark.usefixtures("follows_at_once")
async def test_copies_follow_and_a_move_that_was_cut_short_is_ended(
    server: MigratingStorage, storage: SqlStorage, new: SqlStorage
):
    author = await enter(server)
    await store(server, author.next())
    await close_room(storage, new, "plan")

    assert await store(server, author.next()) == 2, "it is where it was"
    await follows(new, 2)
    await switch(storage, new, SHARES)
    assert await store(server, author.next()) == 3
    await follows(storage, 3)
