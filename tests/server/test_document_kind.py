"""Documents in a storage: loaded as they were, with or without the rows that a snapshot has made needless."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from collabkernel.crdt.yjs.policy import FILE_POLICY
from collabkernel.errors import InvalidYjsUpdateError, StorageError
from collabkernel.limits import Limits
from collabkernel.room.document_log import seed_request
from collabkernel.room.document_room import DocumentRoom
from collabkernel.server.compaction import Compaction
from collabkernel.server.document_history import DocumentHistory
from collabkernel.server.document_kind import Bans, DocumentKind
from collabkernel.server.reader import Reader
from collabkernel.storage.base import Appended, AppendRequest
from collabkernel.storage.memory import MemoryStorage
from tests.room.document_drive import Page

ROOM = "text:file:1"
NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


async def stored(storage: MemoryStorage, updates: list[bytes]) -> None:
    await storage.open()
    await storage.create_room(ROOM, 0)
    await storage.new_site(ROOM, 1, "collabkernel", 2, bytes(32), 0)
    requests = [replace(seed_request(ROOM, update, "ann", 0), counter=n) for n, update in enumerate(updates, start=1)]
    assert all(isinstance(outcome, Appended) for outcome in await storage.append(requests))


def kind_of(storage: MemoryStorage) -> DocumentKind:
    limits, reader, now_ms = Limits(), Reader(storage), lambda: NOW_MS
    history = DocumentHistory(storage, reader, now_ms)
    compaction = Compaction(storage, limits, now_ms, has_peers=False)
    bans = Bans(limits, now_ms)
    return DocumentKind(storage, reader, history, compaction, limits, now_ms, FILE_POLICY, bans)


async def text_in(kind: DocumentKind) -> tuple[str, int]:
    room = await kind.load(ROOM, has_peers=False)
    assert isinstance(room, DocumentRoom)
    page = Page(9)
    page.doc.apply_update(room.encode_state())
    return page.text, room.head


def test_a_document_is_its_snapshot_and_the_rows_after_it():
    async def main() -> None:
        storage, page = MemoryStorage(), Page(5)
        await stored(storage, [page.type("one "), page.type("two "), page.type("three")])
        kind = kind_of(storage)

        await kind.write_snapshot(ROOM, 2, 0)
        assert await storage.drop_ops(ROOM, 2)

        assert await text_in(kind) == ("one two three", 3)
        await kind.write_snapshot(ROOM, 1, 0)
        assert (await storage.latest_snapshot(ROOM)).seq == 2  # type: ignore[union-attr]  # it is there

    asyncio.run(main())


def test_a_snapshot_that_would_be_another_document_is_not_written():
    async def main() -> None:
        storage, page = MemoryStorage(), Page(5)
        page.type("lost ")  # the next update continues what nobody has
        await stored(storage, [page.type("one "), page.type("two ")])
        kind = kind_of(storage)

        with pytest.raises(InvalidYjsUpdateError):
            await kind.write_snapshot(ROOM, 2, 0)

        assert await storage.latest_snapshot(ROOM) is None

    asyncio.run(main())


def test_a_version_is_kept_no_more_often_than_each_hour():
    async def main() -> None:
        storage, page = MemoryStorage(), Page(5)
        await stored(storage, [page.type(f"{n} ") for n in range(5)])
        await storage.save_version(ROOM, 1, "mine", b"\0\0", NOW_MS - HOUR_MS // 2)
        kind = kind_of(storage)

        for seq, now_ms in ((2, NOW_MS), (3, NOW_MS + HOUR_MS // 2), (4, NOW_MS + HOUR_MS), (5, NOW_MS + 2 * HOUR_MS)):
            await kind.write_snapshot(ROOM, seq, now_ms)

        assert [(row.seq, row.name) for row in await storage.versions(ROOM)] == [(1, "mine"), (3, ""), (5, "")]
        later = Page(6)
        later.doc.apply_update(await storage.version_state(ROOM, 3))
        assert later.text == "0 1 2 "

    asyncio.run(main())


def test_a_version_that_could_not_be_kept_is_kept_with_the_next_snapshot_and_the_log_stays_until_then():
    async def main() -> None:
        storage, page = MemoryStorage(), Page(5)
        await stored(storage, [page.type("one "), page.type("two ")])
        kind = kind_of(storage)
        real, drops = storage.save_version, kind._compaction._drops

        async def save_version(*_args):
            raise StorageError("the disk is full")

        storage.save_version = save_version  # type: ignore[method-assign]  # as a disk that has failed
        with pytest.raises(StorageError):
            await kind.write_snapshot(ROOM, 1, NOW_MS)
        assert drops.due_ms() is None

        storage.save_version = real  # type: ignore[method-assign]
        await kind.write_snapshot(ROOM, 2, NOW_MS + 1)
        assert [row.seq for row in await storage.versions(ROOM)] == [2]
        assert drops.take_due(NOW_MS) == [(ROOM, 2)]

    asyncio.run(main())


def test_a_hole_behind_the_snapshot_is_no_document():
    async def main() -> None:
        storage, page = MemoryStorage(), Page(5)
        await stored(storage, [page.type("one "), page.type("two ")])
        kind = kind_of(storage)
        real = storage.read_ops

        async def read_ops(room_id, after_seq, upto_seq=None):
            async for rows in real(room_id, max(1, after_seq), upto_seq):
                yield rows

        storage.read_ops = read_ops  # type: ignore[method-assign]  # a log that lost its beginning
        with pytest.raises(StorageError):
            await kind.load(ROOM, has_peers=False)

    asyncio.run(main())


def test_bans_end():
    now_ms = 0
    bans = Bans(Limits(), lambda: now_ms)
    bans.add(ROOM, "eve")

    assert bans.left_ms(ROOM, "eve") == Limits().ban_ms
    assert bans.left_ms(ROOM, "ann") == bans.left_ms("other", "eve") == 0
    now_ms = Limits().ban_ms
    assert bans.left_ms(ROOM, "eve") == 0


def test_requests_are_what_the_storage_takes():
    assert isinstance(seed_request(ROOM, b"u", "ann", 1), AppendRequest)
