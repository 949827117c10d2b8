"""The storage contract: leases and files."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel.errors import InvalidValueError
from collabkernel.limits import FILE_BASE_BYTES, FILE_DELETED_KEPT_MS, FILE_PATH_BYTES, SAVE_INTENTS
from collabkernel.storage.base import FileRow, Lease, SaveRow, Storage
from tests.bounds import HANG_S
from tests.contract.authors import NOW_MS

pytestmark = pytest.mark.anyio
LONG_MS = 60_000
NOTEBOOK = "json:notebook"


@pytest.fixture(autouse=True)
async def no_files(storage: Storage) -> None:
    """PostgreSQL is one database for all tests: its files of earlier ones are out of the way."""
    for path in ("a", "b", "Ä", "dir", "dir_x", "dirx", "new", "x"):
        await storage.delete_file(path, NOW_MS)


async def made(storage: Storage, path: str) -> FileRow:
    row = await storage.file_by_path(path, create=True, now_ms=NOW_MS)
    assert row is not None
    return row


async def taken(storage: Storage, name: str = "file:a", holder: str = "one", ttl_ms: int = LONG_MS) -> Lease:
    """The lease, when whoever has it has lost it."""
    async with asyncio.timeout(HANG_S):
        while (lease := await storage.acquire_lease(name, holder, ttl_ms)) is None:  # noqa: ASYNC110  # expiry has no event
            await asyncio.sleep(0)
    return lease


async def record(
    storage: Storage, row: FileRow, lease: Lease, saved_hash: str, seq: int, base: bytes, view: str = NOTEBOOK
) -> bool:
    return await storage.record_save(row.file_id, lease, view=view, hash=saved_hash, seq=seq, base=base, now_ms=NOW_MS)


async def test_one_holder_at_a_time(storage: Storage, other: Storage):
    mine = await taken(storage, "lease:one")

    assert await other.acquire_lease("lease:one", "two", LONG_MS) is None
    assert await storage.holds_lease(mine)
    await storage.release_lease(mine)

    assert not await other.holds_lease(mine)
    theirs = await other.acquire_lease("lease:one", "two", LONG_MS)
    assert theirs is not None
    assert theirs.token > mine.token
    await storage.release_lease(mine)  # too late: it is another's
    assert await other.holds_lease(theirs)
    await other.release_lease(theirs)


async def test_of_many_that_ask_at_once_one_gets_it(storage: Storage, other: Storage):
    got = await asyncio.gather(
        *[(storage, other)[i % 2].acquire_lease("lease:rush", f"h{i}", LONG_MS) for i in range(10)]
    )

    winners = [lease for lease in got if lease is not None]
    assert len(winners) == 1
    await storage.release_lease(winners[0])


async def test_an_expired_lease_is_anothers_and_its_token_rises(storage: Storage, other: Storage):
    mine = await taken(storage, "lease:short", ttl_ms=1)

    theirs = await taken(other, "lease:short", "two")

    assert theirs.token > mine.token
    assert not await storage.holds_lease(mine)
    assert await storage.renew_lease(mine, LONG_MS) is None
    await other.release_lease(theirs)
    assert (await taken(storage, "lease:short")).token > theirs.token


async def test_a_renewal_keeps_the_token_and_moves_the_expiry(storage: Storage):
    mine = await taken(storage, "lease:long")

    renewed = await storage.renew_lease(mine, 2 * LONG_MS)

    assert renewed is not None
    assert renewed.token == mine.token
    assert LONG_MS / 2 < renewed.expires_ms - mine.expires_ms < 2 * LONG_MS
    assert await storage.holds_lease(mine)
    await storage.release_lease(renewed)
    assert await storage.renew_lease(renewed, LONG_MS) is None


async def test_who_has_a_lease_gets_it_anew_and_loses_the_older(storage: Storage):
    first, second = await taken(storage, "lease:own"), await taken(storage, "lease:own")

    assert second.token > first.token
    assert not await storage.holds_lease(first)
    assert await storage.holds_lease(second)
    await storage.release_lease(second)


async def test_a_path_has_one_id_however_many_ask(storage: Storage, other: Storage):
    assert await storage.file_by_path("a", create=False, now_ms=NOW_MS) is None

    rows = await asyncio.gather(*[made((storage, other)[i % 2], "a") for i in range(8)])

    assert rows == [FileRow(rows[0].file_id, "a", False, NOW_MS)] * 8
    assert await other.file_by_id(rows[0].file_id) == rows[0]
    assert await storage.file_by_id("nobody") is None


async def test_paths_are_compared_sign_by_sign(storage: Storage):
    names = ["a", "A", "x/Ä", "x/A\u0308", "x/%", "x/_", "x/'", 'x/"', "x/日本.ipynb"]
    ids = {(await made(storage, name)).file_id for name in names}

    assert len(ids) == len(names)
    for name in names:
        row = await storage.file_by_path(name, create=False, now_ms=NOW_MS)
        assert row is not None
        assert row.path == name
    await storage.delete_file("A", NOW_MS)


@pytest.mark.parametrize("path", ["", "/a", "a/", "a\0b", "\ud800", "a" * (FILE_PATH_BYTES + 1)])
async def test_what_is_no_path_is_refused(storage: Storage, path: str):
    for use in (
        storage.file_by_path(path, create=True, now_ms=NOW_MS),
        storage.move_file(path, "b", NOW_MS),
        storage.move_file("b", path, NOW_MS),
        storage.delete_file(path, NOW_MS),
    ):
        with pytest.raises(InvalidValueError):
            await use


async def test_a_file_keeps_its_id_when_it_is_moved(storage: Storage, other: Storage):
    row = await made(storage, "a")

    assert await storage.move_file("a", "b", NOW_MS + 1) == [row._replace(path="b", updated_ms=NOW_MS + 1)]

    assert await other.file_by_path("a", create=False, now_ms=NOW_MS) is None
    assert (await made(other, "b")).file_id == row.file_id
    assert (await made(other, "a")).file_id != row.file_id
    assert await storage.move_file("nothing", "new", NOW_MS) == []
    assert await storage.move_file("b", "b", NOW_MS) == [await made(storage, "b")]


async def test_what_a_move_replaces_is_deleted(storage: Storage):
    moved, replaced = await made(storage, "a"), await made(storage, "b")

    await storage.move_file("a", "b", NOW_MS)

    assert (await made(storage, "b")).file_id == moved.file_id
    gone = await storage.file_by_id(replaced.file_id)
    assert gone is not None
    assert gone.deleted
    assert gone.path == "b"


async def test_a_directory_moves_with_all_below_it_and_nothing_beside(storage: Storage):
    inside = {name: (await made(storage, name)).file_id for name in ("dir/1", "dir/sub/2", "dir/%", "dir/dir/3")}
    beside = {name: (await made(storage, name)).file_id for name in ("dirx", "dir_x/1", "x/dir/1", "dir-", "DIR/1")}
    in_the_way = await made(storage, "new/1")

    moved = await storage.move_file("dir", "new", NOW_MS)

    assert {row.path: row.file_id for row in moved} == {f"new{name[3:]}": i for name, i in inside.items()}
    for name, file_id in {**beside, **{row.path: row.file_id for row in moved}}.items():
        assert (await made(storage, name)).file_id == file_id, name
    gone = await storage.file_by_id(in_the_way.file_id)
    assert gone is not None
    assert gone.deleted
    for name in ("dir-", "DIR"):
        await storage.delete_file(name, NOW_MS)


async def test_what_was_below_may_move_to_where_its_directory_was(storage: Storage):
    ids = [(await made(storage, name)).file_id for name in ("dir/dir/1", "dir/dir/dir/1")]
    replaced = await made(storage, "dir/1")

    moved = await storage.move_file("dir/dir", "dir", NOW_MS)

    assert {(row.path, row.file_id) for row in moved} == {("dir/1", ids[0]), ("dir/dir/1", ids[1])}
    gone = await storage.file_by_id(replaced.file_id)
    assert gone is not None
    assert gone.deleted
    with pytest.raises(InvalidValueError, match="below itself"):
        await storage.move_file("dir", "dir/new", NOW_MS)


async def test_a_deleted_file_is_known_by_its_id_and_its_path_is_free(storage: Storage):
    rows = [await made(storage, name) for name in ("dir/1", "dir/2", "dirx")]

    await storage.delete_file("dir", NOW_MS + 5)

    assert await storage.file_by_id(rows[0].file_id) == rows[0]._replace(deleted=True, updated_ms=NOW_MS + 5)
    assert await storage.file_by_id(rows[2].file_id) == rows[2]
    assert (await made(storage, "dir/1")).file_id != rows[0].file_id


async def test_a_deleted_file_comes_back_where_it_was_when_nobody_is_there(storage: Storage, other: Storage):
    row = await made(storage, "a")
    assert not await storage.restore_file(row.file_id, NOW_MS)
    await storage.delete_file("a", NOW_MS)

    assert await other.restore_file(row.file_id, NOW_MS + 1)

    assert await made(storage, "a") == row._replace(updated_ms=NOW_MS + 1)
    await storage.delete_file("a", NOW_MS)
    assert (await made(storage, "a")).file_id != row.file_id
    assert not await storage.restore_file(row.file_id, NOW_MS)
    assert not await storage.restore_file("nobody", NOW_MS)


async def test_what_was_deleted_long_ago_is_forgotten(storage: Storage, other: Storage):
    old, newer, live = [await made(storage, name) for name in ("old", "newer", "live")]
    await storage.delete_file("old", NOW_MS)
    await storage.delete_file("newer", NOW_MS + 1)

    await storage.delete_file("live", NOW_MS + FILE_DELETED_KEPT_MS + 1)

    assert await other.file_by_id(old.file_id) is None
    assert not await other.restore_file(old.file_id, NOW_MS)
    assert await other.restore_file(newer.file_id, NOW_MS)
    assert await other.restore_file(live.file_id, NOW_MS)


async def test_tokens_rise_though_released_leases_are_forgotten(storage: Storage, other: Storage):
    tokens: dict[str, int] = {}

    async def use(name: str, server: Storage, holder: str) -> None:
        for _ in range(10):
            lease = await taken(server, name, holder)
            assert lease.token > tokens.get(name, 0)
            tokens[name] = lease.token
            assert await server.holds_lease(lease)
            await server.release_lease(lease)

    users = [
        (name, server, f"{name}{n}") for name in ("lease:x", "lease:y") for n, server in enumerate((storage, other))
    ]
    await asyncio.gather(*[use(*user) for user in users])


async def test_a_save_is_recorded_under_its_lease(storage: Storage, other: Storage):
    row = await made(storage, "a")
    lease = await taken(storage)
    assert await storage.saved(row.file_id, NOTEBOOK) is None
    assert await storage.saved_base(row.file_id, NOTEBOOK) is None

    assert await record(storage, row, lease, "h1", 7, b"one" * 50_000)

    assert await other.saved(row.file_id, NOTEBOOK) == SaveRow("h1", 7, (), NOW_MS)
    assert await other.saved_base(row.file_id, NOTEBOOK) == b"one" * 50_000
    assert await record(storage, row, lease, "h2", 8, b"")
    assert await other.saved_base(row.file_id, NOTEBOOK) == b""
    await storage.release_lease(lease)
    assert not await record(storage, row, lease, "h3", 9, b"")


async def test_two_views_of_a_file_have_saves_of_their_own(storage: Storage):
    row = await made(storage, "a")
    lease = await taken(storage)
    await record(storage, row, lease, "h1", 7, b"as notebook")

    await record(storage, row, lease, "h2", 3, b"as text", view="text:file")

    assert await storage.saved(row.file_id, NOTEBOOK) == SaveRow("h1", 7, (), NOW_MS)
    assert await storage.saved(row.file_id, "text:file") == SaveRow("h2", 3, (), NOW_MS)
    assert await storage.saved_base(row.file_id, NOTEBOOK) == b"as notebook"
    await storage.release_lease(lease)


async def test_what_is_about_to_be_saved_is_known_until_it_is_recorded(storage: Storage, other: Storage):
    row = await made(storage, "a")
    lease = await taken(storage)
    for saved_hash in ("h1", "h2", "h1", "h3"):
        assert await storage.intend_save(row.file_id, lease, view=NOTEBOOK, hash=saved_hash)
    assert await other.saved(row.file_id, NOTEBOOK) == SaveRow("", 0, ("h2", "h1", "h3"), 0)

    await record(storage, row, lease, "h1", 1, b"")

    assert await other.saved(row.file_id, NOTEBOOK) == SaveRow("h1", 1, ("h2", "h3"), NOW_MS)
    for i in range(SAVE_INTENTS):
        await storage.intend_save(row.file_id, lease, view=NOTEBOOK, hash=f"i{i}")
    save = await storage.saved(row.file_id, NOTEBOOK)
    assert save is not None
    assert save.intents == tuple(f"i{i}" for i in range(SAVE_INTENTS))
    await storage.release_lease(lease)
    assert not await storage.intend_save(row.file_id, lease, view=NOTEBOOK, hash="late")


async def test_a_save_under_an_older_token_is_refused(storage: Storage, other: Storage):
    row = await made(storage, "a")
    late = await taken(storage, ttl_ms=1)
    assert await record(storage, row, late, "mine", 1, b"mine")
    newer = await taken(other, holder="two")

    assert not await record(storage, row, late, "late", 2, b"late")
    assert await record(other, row, newer, "theirs", 3, b"theirs")

    save = await storage.saved(row.file_id, NOTEBOOK)
    assert save is not None
    assert save.hash == "theirs"
    assert await storage.saved_base(row.file_id, NOTEBOOK) == b"theirs"
    assert not await record(other, row._replace(file_id="nobody"), newer, "", 0, b"")
    await other.release_lease(newer)


async def test_a_large_file_keeps_no_base_and_a_deleted_one_no_save(storage: Storage):
    row = await made(storage, "a")
    lease = await taken(storage)
    for size, kept in ((FILE_BASE_BYTES, True), (FILE_BASE_BYTES + 1, False)):
        base = b"\0" * size
        assert await record(storage, row, lease, "h", 1, base)
        assert await storage.saved_base(row.file_id, NOTEBOOK) == (base if kept else None)
    await record(storage, row, lease, "h", 1, b"small")

    await storage.delete_file("a", NOW_MS)

    assert await storage.saved(row.file_id, NOTEBOOK) is None
    assert await storage.saved_base(row.file_id, NOTEBOOK) is None
    assert not await record(storage, row, lease, "h", 2, b"")
    await storage.release_lease(lease)
