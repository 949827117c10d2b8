"""Copies of rooms that are deleted, made anew, or written to by somebody else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from collabkernel.errors import DifferenceError, MigrationError
from collabkernel.storage import standing
from collabkernel.storage.blobs import BlobStore
from collabkernel.storage.snapshots import places
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import SHARES
from tests.contract.authors import NOW_MS, enter
from tests.storage.two_databases import differences, fill, migrating, store, whole_log_behind

pytestmark = pytest.mark.anyio


async def test_a_room_that_was_deleted_goes_from_the_copy_and_one_made_anew_takes_its_place(
    storage: SqlStorage, new: SqlStorage
):
    await fill(storage)
    async with migrating(storage, new) as work:
        await work.catch_up()
        await storage.delete_room("plan")
        await work.catch_up()
        assert await new.read(lambda each: standing.find(each, "plan")) is None
        await fill(storage)
        await work.catch_up()
        await storage.delete_room("plan")
        await storage.create_room("plan", NOW_MS + 1)
        assert await storage.new_site("plan", 7, "ann", 1, bytes(32), NOW_MS)
        await work.catch_up()
        assert await differences(work) == {"plan": "", "": ""}


@pytest.mark.long
async def test_what_compaction_drops_goes_from_the_copy_and_what_is_read_meanwhile_is_read_again(
    storage: SqlStorage, new: SqlStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("collabkernel.storage.copying.COPY_ROWS", 4)
    await fill(storage)
    read, dropped = storage.read, []

    async def read_late(work):  # type: ignore[no-untyped-def]
        found = await read(work)
        if getattr(work, "keywords", {}).get("after_seq") == 9 and not dropped:
            dropped.append(await storage.drop_ops("plan", 20))
        return found

    monkeypatch.setattr(storage, "read", read_late)
    async with migrating(storage, new) as work:
        await work.follow()
        assert await differences(work) == {"plan": "", "": ""}
    assert dropped == [15]
    await new.write(lambda each: each.execute(text("UPDATE rooms SET standing = 0")))
    assert [op.seq for op in await whole_log_behind(new)] == list(range(21, 33))


async def test_a_copy_that_is_ahead_or_another_is_left_alone_and_told(storage: SqlStorage, new: SqlStorage):
    author = await enter(storage)
    await store(storage, author.next(3))
    async with migrating(storage, new) as work:
        await work.follow()
        await new.write(lambda each: each.execute(text("UPDATE ops SET actor = 'eve' WHERE seq = 3")))
        await store(storage, author.next())
        await work.follow()
        assert isinstance(work.failures["plan"], DifferenceError)
        await storage.write(lambda each: each.execute(text("UPDATE rooms SET seq = 2")))
        await work.follow()
        assert "goes on to 3, its truth to 2" in str(work.failures["plan"])
        await new.write(lambda each: each.execute(text("UPDATE rooms SET standing = 0")))
        await work.follow()
        assert isinstance(work.failures["plan"], MigrationError)
        assert "made in both" in str(work.failures["plan"])


@pytest.mark.parametrize(
    ("old_is_outside", "new_is_outside"),
    [
        (True, False),
        pytest.param(True, True, marks=pytest.mark.long),
        pytest.param(False, True, marks=pytest.mark.long),
    ],
)
async def test_blobs_are_copied_to_where_the_other_database_has_them(
    tmp_path: Path, migrated: Path, old_is_outside: bool, new_is_outside: bool
):
    folder = (tmp_path / "blobs").as_uri()
    old, new = [
        SqlStorage(
            f"sqlite:///{shutil.copy(migrated, tmp_path / name)}",
            blobs=BlobStore(folder, outside_bytes=0 if is_outside else 1 << 20),
        )
        for name, is_outside in (("old.db", old_is_outside), ("new.db", new_is_outside))
    ]
    await old.open()
    await new.open()
    await fill(old)
    before = await old.latest_snapshot("plan")
    async with migrating(old, new) as work:
        await work.follow()
        assert await differences(work) == {"plan": "", "": ""}
        assert {room_id async for room_id in work.switch(SHARES)} == {"plan", ""}
    for place in await old.read(lambda each: places(each, 1)):
        (tmp_path / "blobs" / place).unlink()

    assert await new.latest_snapshot("plan") == before
    assert bool(await new.read(lambda each: places(each, 1))) == new_is_outside

    await old.close()
    await new.close()
