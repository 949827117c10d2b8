"""What documents were: versions by name, and states at a seq from versions, snapshots and the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from collabkernel.errors import BlobLostError, InvalidValueError, LogDroppedError, RoomNotFoundError
from collabkernel.limits import VERSION_NAME_BYTES
from collabkernel.room.document_fold import DocumentFold
from collabkernel.room.document_log import seed_request
from collabkernel.server.document_history import DocumentHistory
from collabkernel.server.reader import Reader
from collabkernel.storage.base import SnapshotRow
from tests.room.document_drive import Page
from tests.server.lossy import LossyStorage

ROOM = "text:file:1"
NOW_MS = 1_800_000_000_000


def text_of(state: bytes) -> str:
    page = Page(9)
    page.doc.apply_update(state)
    return page.text


class World:
    """A document that was typed sign by sign."""

    def __init__(self) -> None:
        self.storage = LossyStorage()
        self.history = DocumentHistory(self.storage, Reader(self.storage), lambda: NOW_MS)

    async def type(self, text: str) -> None:
        await self.storage.open()
        await self.storage.create_room(ROOM, 0)
        await self.storage.new_site(ROOM, 1, "collabkernel", 2, bytes(32), 0)
        page = Page(5)
        request = seed_request(ROOM, b"", "ann", 0)
        for counter, sign in enumerate(text, start=1):
            await self.storage.append([replace(request, counter=counter, ops=((64, page.type(sign)),))])

    async def snapshot(self, seq: int) -> None:
        fold, _ = await self.history.read(ROOM, seq)
        assert isinstance(fold, DocumentFold)
        fold.settle()
        await self.storage.save_snapshot(SnapshotRow(ROOM, seq, fold.to_parts()), 0)

    async def compact(self, seq: int) -> None:
        await self.snapshot(seq)
        await self.storage.drop_ops(ROOM, seq)

    async def text_at(self, seq: int) -> str:
        return text_of(await self.history.state_at(ROOM, seq))


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        world = World()
        await world.type("abcdefgh")
        await scenario(world)

    asyncio.run(main())


def test_a_state_is_told_at_every_seq_that_the_log_has() -> None:
    async def scenario(world: World) -> None:
        assert [await world.text_at(seq) for seq in range(9)] == ["abcdefgh"[:seq] for seq in range(9)]
        assert await world.text_at(99) == "abcdefgh"

    run(scenario)


def test_below_a_dropped_log_there_are_the_versions_and_what_follows_them() -> None:
    async def scenario(world: World) -> None:
        await world.snapshot(3)
        await world.history.save_version(ROOM, "all")
        for seq, state in ((2, await world.history.state_at(ROOM, 2)), (5, await world.history.state_at(ROOM, 5))):
            await world.storage.save_version(ROOM, seq, "", state, NOW_MS)
        await world.snapshot(7)
        await world.storage.drop_ops(ROOM, 5)

        assert [await world.text_at(seq) for seq in (2, 5, 6, 7, 8)] == ["ab", "abcde", "abcdef", "abcdefg", "abcdefgh"]
        for seq in (1, 3, 4):
            with pytest.raises(LogDroppedError):
                await world.history.state_at(ROOM, seq)

    run(scenario)


def test_a_version_is_named_where_the_log_is() -> None:
    async def scenario(world: World) -> None:
        row = await world.history.save_version(ROOM, "first")
        assert (row.seq, row.name, row.created_ms) == (8, "first", NOW_MS)
        assert (await world.history.save_version(ROOM, "renamed")).name == "renamed"
        assert len(await world.storage.versions(ROOM)) == 1
        with pytest.raises(RoomNotFoundError):
            await world.history.save_version("nowhere", "x")
        with pytest.raises(InvalidValueError):
            await world.history.save_version(ROOM, "x" * (VERSION_NAME_BYTES + 1))

    run(scenario)


def test_a_log_that_is_compacted_while_it_is_read_is_read_again() -> None:
    async def scenario(world: World) -> None:
        read_ops = world.storage.read_ops

        async def compacted_first(room_id: str, after_seq: int, upto_seq: int | None = None):  # type: ignore[no-untyped-def]  # as the real one
            world.storage.read_ops = read_ops  # type: ignore[method-assign]  # once is enough
            await world.compact(2)
            async for rows in read_ops(room_id, after_seq, upto_seq):
                yield rows

        world.storage.read_ops = compacted_first  # type: ignore[method-assign]  # another server is faster
        fold, snapshot_seq = await world.history.read(ROOM)
        fold.settle()
        assert (text_of(fold.state), fold.seq, snapshot_seq) == ("abcdefgh", 8, 2)

    run(scenario)


@pytest.mark.parametrize("lost", [{6}, {3, 6}])
def test_a_document_whose_snapshot_is_lost_is_read_from_what_is_before_it(lost: set[int]) -> None:
    async def scenario(world: World) -> None:
        await world.snapshot(3)
        await world.snapshot(6)
        world.storage.lost = lost
        fold, snapshot_seq = await world.history.read(ROOM)
        fold.settle()
        assert (text_of(fold.state), snapshot_seq) == ("abcdefgh", 0 if 3 in lost else 3)
        assert await world.text_at(7) == "abcdefg"

    run(scenario)


def test_what_a_lost_snapshot_alone_had_is_told() -> None:
    async def scenario(world: World) -> None:
        await world.snapshot(3)
        await world.compact(6)
        world.storage.lost = {6}
        with pytest.raises(BlobLostError, match=r"log goes back to 6 only, .* put it back"):
            await world.history.read(ROOM)

    run(scenario)
