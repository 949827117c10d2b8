"""Snapshots with their large parts outside the database: what is where, what is lost, and what is swept when."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from collabkernel.errors import BlobLostError, BlobsAwayError, RoomNotFoundError
from collabkernel.storage import blobs, sql_snapshots
from collabkernel.storage.base import SnapshotRow
from collabkernel.storage.blobs import OUTSIDE_BYTES, BlobStore
from collabkernel.storage.database import Database
from collabkernel.storage.snapshots import compress, content_hash
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.tables import blobs as blob_rows
from tests.contract.authors import NOW_MS, enter

pytestmark = pytest.mark.anyio


def large(seed: int) -> bytes:
    """What no compression makes small."""
    return random.Random(seed).randbytes(OUTSIDE_BYTES)


OLD, NEW, NEWER, NEWEST = (large(n) for n in range(4))


class Store(BlobStore):
    """One that lets others work at the worst moment."""

    on_listed: Callable[[], Awaitable[object]] | None = None
    on_read: Callable[[str], Awaitable[object]] | None = None

    async def old_places(self, room: int) -> list[str]:
        places = await super().old_places(room)
        if self.on_listed is not None:
            await self.on_listed()
        return places

    async def read(self, place, check):  # type: ignore[no-untyped-def]  # as the base says
        if self.on_read is not None:
            work, self.on_read = self.on_read, None
            await work(place)
        return await super().read(place, check)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of blobs."""
    return tmp_path / "blobs"


@pytest.fixture
def store(root: Path) -> Store:
    """What ``storage`` has its large blobs in."""
    return Store(root.as_uri())


@pytest.fixture
async def storage(path: Path, store: Store) -> AsyncIterator[SqlStorage]:
    """An open storage with a room of ten operations."""
    storage = SqlStorage(f"sqlite:///{path}", blobs=store)
    await storage.open()
    await storage.append([(await enter(storage)).next(10)])
    yield storage
    await storage.close()


async def save(storage: SqlStorage, seq: int, **parts: bytes) -> None:
    await storage.save_snapshot(SnapshotRow("plan", seq, parts), NOW_MS)


async def rows(database: Database) -> dict[str, tuple[bytes, str]]:
    query = select(blob_rows.c.hash, blob_rows.c.data, blob_rows.c.place)
    return {name: (data, place) for name, data, place in await database.read(lambda c: c.execute(query).all())}


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def block(root: Path) -> None:
    """Put a file where the folder should be."""
    root.rename(root.with_name("away"))
    root.write_text("no folder")


def unblock(root: Path) -> None:
    """Let a new folder be made."""
    root.unlink()


async def test_large_blobs_are_outside_and_small_ones_are_not(storage: SqlStorage, database: Database, root: Path):
    await save(storage, 1, live=OLD, tree=b"small")

    by_hash = await rows(database)
    data, place = by_hash[content_hash(OLD)]
    assert data == b""
    assert files(root) == {place}
    assert by_hash[content_hash(b"small")] == (compress([b"small"])[content_hash(b"small")], "")
    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 1, {"live": OLD, "tree": b"small"})


async def test_an_unchanged_blob_is_not_written_again(storage: SqlStorage, root: Path):
    await save(storage, 1, live=OLD)
    before = files(root)
    await save(storage, 2, live=OLD, again=OLD)

    assert files(root) == before
    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 2, {"live": OLD, "again": OLD})


@pytest.mark.parametrize("data", [None, b"", b"no zstd", next(iter(compress([NEW]).values()))], ids=["gone", *"abc"])
async def test_a_lost_blob_is_told_and_the_next_save_has_it_again(storage: SqlStorage, root: Path, data: bytes | None):
    await save(storage, 1, live=OLD, tree=NEW)
    await save(storage, 2, live=OLD, tree=NEWER)
    (lost,) = [root / name for name in files(root) if content_hash(NEWER) in name]
    if data is None:
        lost.unlink()
    else:
        lost.write_bytes(data)

    with pytest.raises(BlobLostError, match=rf"room 'plan' at 2 .*{content_hash(NEWER)}"):
        await storage.latest_snapshot("plan")
    assert await storage.latest_snapshot("plan", ("live",)) == SnapshotRow("plan", 2, {"live": OLD})
    assert await storage.latest_snapshot("plan", before_seq=2) == SnapshotRow("plan", 1, {"live": OLD, "tree": NEW})

    await save(storage, 2, live=OLD, tree=NEWER)
    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 2, {"live": OLD, "tree": NEWER})


async def test_what_the_store_does_not_take_goes_into_the_database(
    storage: SqlStorage, root: Path, monkeypatch: pytest.MonkeyPatch
):
    await save(storage, 1, live=OLD)
    block(root)

    with pytest.raises(BlobsAwayError, match="room 'plan' at 1"):
        await storage.latest_snapshot("plan")
    await save(storage, 2, live=OLD, tree=NEW)
    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 2, {"live": OLD, "tree": NEW})

    unblock(root)
    monkeypatch.setattr(blobs, "AWAY_S", 0.0)
    await save(storage, 3, live=NEWER, tree=NEW)
    assert [content_hash(NEWER) in name for name in files(root)] == [True], "what is new is outside again"
    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 3, {"live": NEWER, "tree": NEW})


async def test_a_snapshot_that_expires_while_it_is_read_is_read_anew(storage: SqlStorage, store: Store, root: Path):
    async def expire(place: str) -> None:
        await save(storage, 2, live=NEW)
        await save(storage, 3, live=NEWER)
        (root / place).unlink()

    await save(storage, 1, live=OLD)
    store.on_read = expire
    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 3, {"live": NEWER})


async def test_what_nobody_names_is_swept_after_a_day(storage: SqlStorage, root: Path, monkeypatch: pytest.MonkeyPatch):
    for seq, state in enumerate((OLD, NEW, NEWER), 1):
        await save(storage, seq, live=state)
    with pytest.raises(RoomNotFoundError):  # written, and not committed
        await _save_in_a_room_that_goes(storage)
    rests: list[float] = []

    async def rest(took_s: float) -> None:
        rests.append(took_s)

    assert await storage.sweep_blobs(rest) == 0
    assert len(files(root)) == 4
    monkeypatch.setattr(blobs, "GRACE_MS", -60_000)
    assert await storage.sweep_blobs(rest) == 2
    assert len(rests) == 4, "two rooms, twice"
    assert {name.split("/")[-1].split(".")[0] for name in files(root)} == {content_hash(NEW), content_hash(NEWER)}
    assert await storage.latest_snapshot("plan", before_seq=3) == SnapshotRow("plan", 2, {"live": NEW})
    await storage.delete_room("plan")
    assert await storage.sweep_blobs() == 2
    assert files(root) == set()


async def _save_in_a_room_that_goes(storage: SqlStorage) -> None:
    await enter(storage, "notes")
    put = storage.snapshots._put  # the moment between write and commit

    async def then_delete(*arguments):  # type: ignore[no-untyped-def]  # as that says
        rows = await put(*arguments)
        await storage.delete_room("notes")
        return rows

    storage.snapshots._put = then_delete  # type: ignore[method-assign]
    try:
        await storage.save_snapshot(SnapshotRow("notes", 0, {"live": NEWEST}), NOW_MS)
    finally:
        storage.snapshots._put = put  # type: ignore[method-assign]


async def test_a_writer_that_names_the_same_again_beside_a_sweep_keeps_it(
    storage: SqlStorage, store: Store, path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
):
    other = SqlStorage(f"sqlite:///{path}", blobs=BlobStore(root.as_uri()))
    await other.open()
    monkeypatch.setattr(blobs, "GRACE_MS", -60_000)
    for seq, state in enumerate((OLD, NEW, NEWER), 1):
        await save(storage, seq, live=state)
    store.on_listed = lambda: save(other, 4, live=OLD, tree=NEWER)

    assert await storage.sweep_blobs() == 2, "the first place of the old state, and the new one that has expired"
    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 4, {"live": OLD, "tree": NEWER})
    await other.close()


async def test_databases_in_one_store_leave_each_others_alone(
    storage: SqlStorage, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(blobs, "GRACE_MS", -60_000)
    await save(storage, 1, live=OLD)
    other = SqlStorage(f"sqlite:///{tmp_path}/other.db", blobs=BlobStore(root.as_uri()))
    await other.open()
    assert await other.sweep_blobs() == 0
    await other.close()
    assert await storage.latest_snapshot("plan") == SnapshotRow("plan", 1, {"live": OLD})


async def test_without_its_blob_url_a_database_says_so(storage: SqlStorage, path: Path):
    await save(storage, 1, live=OLD)
    other = SqlStorage(f"sqlite:///{path}")
    await other.open()
    with pytest.raises(BlobLostError, match="no blob_url says where"):
        await other.latest_snapshot("plan")
    assert await other.sweep_blobs() == 0
    await other.close()


async def test_what_is_known_as_unreadable_is_bounded(storage: SqlStorage, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sql_snapshots, "UNREAD_MAX", 1)
    await save(storage, 1, live=OLD, tree=NEW)
    for name in files(root):
        (root / name).unlink()
    for part in ("live", "tree"):
        with pytest.raises(BlobLostError):
            await storage.latest_snapshot("plan", (part,))
    assert storage.snapshots._unread == {("plan", content_hash(NEW))}
