"""Reading rooms back."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import MapSet
from collabkernel.errors import StorageError
from collabkernel.limits import Limits
from collabkernel.server.reader import Reader
from collabkernel.storage.base import AppendRequest, SnapshotRow
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.ops import encode_op, op_kind


async def filled(ops_count: int, storage: MemoryStorage | None = None) -> MemoryStorage:
    storage = storage or MemoryStorage()
    await storage.open()
    await storage.create_room("board", 0)
    await storage.new_site("board", 7, "ann", 1, bytes(32), 0)
    for counter in range(1, ops_count + 1):
        op = MapSet(ROOT, f"k{counter % 10}", counter)
        await storage.append(
            [AppendRequest("board", 7, 1, counter, 0, counter, "ann", ((op_kind(op), encode_op(op)),))]
        )
    return storage


def test_a_room_loads_the_same_with_and_without_a_snapshot() -> None:
    async def main() -> None:
        reader = Reader(await filled(30))
        cold, _ = await reader.load("board")
        await reader.write_snapshot("board", 20, 0)

        warm, snapshot_seq = await reader.load("board")

        assert snapshot_seq == 20
        assert warm.tree.to_json() == cold.tree.to_json()
        assert (warm.seq, warm.hlc, warm.tree.size_bytes) == (cold.seq, cold.hlc, cold.tree.size_bytes)

    asyncio.run(main())


def test_a_second_snapshot_builds_on_the_first() -> None:
    async def main() -> None:
        storage = await filled(30)
        reader, fresh = Reader(storage), Reader(await filled(30))
        await reader.write_snapshot("board", 10, 0)
        await reader.write_snapshot("board", 25, 0)
        await fresh.write_snapshot("board", 25, 0)

        built, direct = await storage.latest_snapshot("board"), await fresh._storage.latest_snapshot("board")

        assert built == direct

    asyncio.run(main())


@pytest.mark.parametrize(("snapshot_seq", "op"), [(0, None), (20, OpId(7, 20))])
def test_a_snapshot_names_the_operation_at_its_seq(snapshot_seq: int, op: OpId | None) -> None:
    async def main() -> None:
        reader = Reader(await filled(30))
        if snapshot_seq:
            await reader.write_snapshot("board", snapshot_seq, 0)

        parts, _ = await reader.catch_up("board", 0, 30, with_snapshot=True)

        snapshot = decode_server_message(b"".join(parts), Limits()).snapshot
        assert snapshot is not None
        assert (snapshot.seq, snapshot.op) == (snapshot_seq, op)

    asyncio.run(main())


class DeletedMeanwhile(MemoryStorage):
    """A real storage whose room is deleted as soon as its snapshot was read, once ``is_deleting``."""

    is_deleting = False

    async def latest_snapshot(self, room_id: str) -> SnapshotRow | None:
        snapshot = await super().latest_snapshot(room_id)
        if self.is_deleting:
            await self.delete_room(room_id)
        return snapshot


def test_a_snapshot_without_its_operation_is_an_error_of_the_storage() -> None:
    async def main() -> None:
        storage = DeletedMeanwhile()
        reader = Reader(await filled(3, storage))
        await reader.write_snapshot("board", 3, 0)
        storage.is_deleting = True

        with pytest.raises(StorageError, match="no operation there"):
            await reader.catch_up("board", 0, 3, with_snapshot=True)

    asyncio.run(main())


def test_joiners_who_come_together_get_the_same_bytes() -> None:
    async def main() -> None:
        reader = Reader(await filled(5))
        first, second = await asyncio.gather(
            reader.catch_up("board", 0, 5, with_snapshot=True), reader.catch_up("board", 0, 5, with_snapshot=True)
        )
        assert first[0][0] is second[0][0]

    asyncio.run(main())


def test_a_catch_up_stops_at_the_head_that_was_asked_for() -> None:
    async def main() -> None:
        reader = Reader(await filled(9))
        parts, through = await reader.catch_up("board", 2, 6, with_snapshot=False)
        message = decode_server_message(b"".join(parts), Limits())
        assert [item.seq for item in message.ops] == [3, 4, 5, 6]
        assert through == 6

    asyncio.run(main())
