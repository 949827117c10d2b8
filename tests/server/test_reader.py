"""Reading rooms back."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.document.operations import BlockInsert, MapSet, NewDocument, Op, document_id
from collabkernel.errors import BlobLostError, BlobsAwayError, StorageError
from collabkernel.limits import Limits
from collabkernel.server.reader import CollectorPause, Reader
from collabkernel.storage.base import AppendRequest, OpRow, SnapshotRow
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.ops import encode_op, op_kind
from collabkernel.wire.room_state import decode_room, join_parts
from tests.server.lossy import LossyStorage


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
        assert warm.state.tree.to_json() == cold.state.tree.to_json()
        assert (warm.seq, warm.hlc, warm.state.tree.size_bytes) == (cold.seq, cold.hlc, cold.state.tree.size_bytes)

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


def test_a_partial_snapshot_has_places_and_no_contents() -> None:
    async def main() -> None:
        storage = await filled(0)
        reader = Reader(storage)
        block = OpId(7, 2)
        ops: list[Op] = [
            NewDocument(ROOT, "body"),
            BlockInsert(document_id("body"), Slot.CHILD, key_between(None, None, 7), "heading"),
            MapSet(block, "level", 2),
        ]
        encoded = tuple([(op_kind(op), encode_op(op)) for op in ops])
        await storage.append([AppendRequest("board", 7, 1, 1, 0, 1, "ann", encoded)])
        await reader.write_snapshot("board", 3, 0)

        whole, _ = await reader.catch_up("board", 0, 3, with_snapshot=True)
        partial, _ = await reader.catch_up("board", 0, 3, with_snapshot=True, is_partial=True)

        levels = []
        for parts in (whole, partial):
            snapshot = decode_server_message(b"".join(parts), Limits()).snapshot
            assert snapshot is not None
            blocks = decode_room(snapshot.state, None)[0].blocks
            assert blocks is not None
            levels.append((blocks.block(block).type, blocks.block(block).properties.get("level")))
        assert levels == [("heading", 2), ("heading", None)]

    asyncio.run(main())


class DeletedMeanwhile(MemoryStorage):
    """A real storage whose room is deleted as soon as its snapshot was read, once ``is_deleting``."""

    is_deleting = False

    async def latest_snapshot(self, room_id: str, wanted: Sequence[str] | None = None) -> SnapshotRow | None:
        snapshot = await super().latest_snapshot(room_id, wanted)
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


def test_a_snapshot_that_is_enough_is_read_alone_and_shared_whatever_the_head() -> None:
    async def main() -> None:
        reader = Reader(await filled(9))
        none, through = await reader.catch_up("board", 0, 9, with_snapshot=True, enough=0)
        assert (len(none), through) == (1, 0)

        await reader.write_snapshot("board", 5, 0)
        first, second = [await reader.catch_up("board", 0, head, with_snapshot=True, enough=5) for head in (7, 9)]
        assert first[1] == second[1] == 5
        assert first[0] is second[0]
        assert decode_server_message(b"".join(first[0]), Limits()).ops == ()

        await reader.write_snapshot("board", 8, 0)
        reader.forget("board")
        newer, through = await reader.catch_up("board", 0, 9, with_snapshot=True, enough=5)
        assert decode_server_message(b"".join(newer), Limits()).snapshot.seq == through == 8

    asyncio.run(main())


def test_a_snapshot_of_another_server_that_goes_further_than_what_was_shown_is_not_taken() -> None:
    async def main() -> None:
        reader = Reader(await filled(9))
        for seq in (3, 8):
            await reader.write_snapshot("board", seq, 0)
        parts, through = await reader.catch_up("board", 0, 6, with_snapshot=True, enough=3)
        message = decode_server_message(b"".join(parts), Limits())
        assert [item.seq for item in message.ops] == [1, 2, 3, 4, 5, 6]
        assert through == 6

    asyncio.run(main())


def test_a_catch_up_stops_at_the_head_that_was_asked_for() -> None:
    async def main() -> None:
        reader = Reader(await filled(9))
        parts, through = await reader.catch_up("board", 2, 6, with_snapshot=False)
        message = decode_server_message(b"".join(parts), Limits())
        assert [item.seq for item in message.ops] == [3, 4, 5, 6]
        assert through == 6

    asyncio.run(main())


async def filled_with(storage: MemoryStorage, *ops: Op) -> None:
    await storage.open()
    await storage.create_room("board", 0)
    await storage.new_site("board", 7, "ann", 1, bytes(32), 0)
    for counter, op in enumerate(ops, start=1):
        await storage.append(
            [AppendRequest("board", 7, 1, counter, 0, counter, "ann", ((op_kind(op), encode_op(op)),))]
        )


class CountingStorage(MemoryStorage):
    """A real storage that remembers the largest chunk that was read."""

    largest_bytes = 0

    async def read_ops(
        self, room_id: str, after_seq: int, upto_seq: int | None = None
    ) -> AsyncIterator[Sequence[OpRow]]:
        async for rows in super().read_ops(room_id, after_seq, upto_seq):
            self.largest_bytes = max(self.largest_bytes, sum([len(row.payload) for row in rows]))
            yield rows


def test_a_log_of_large_values_is_read_and_sent_in_frames_that_clients_take() -> None:
    """One value written 200 times was a frame of 50 MB, which every client refused: nobody could join any more."""

    async def main() -> None:
        storage = CountingStorage()
        await filled_with(storage, *[MapSet(ROOT, "k", f"{n:0262000}") for n in range(200)])
        reader = Reader(storage)
        seqs: list[int] = []
        through = 0
        while through < 200:
            parts, through = await reader.catch_up("board", through, 200, with_snapshot=False)
            frame = b"".join(parts)
            assert len(frame) < 6 << 20
            seqs += [item.seq for item in decode_server_message(frame, Limits()).ops]
        assert seqs == list(range(1, 201))

    asyncio.run(main())


def test_a_long_log_of_large_values_is_folded_in_pieces() -> None:
    async def main() -> None:
        storage = CountingStorage()
        small = [MapSet(ROOT, f"s{n}", n) for n in range(600)]
        large = [MapSet(ROOT, "k", f"{n:020000}") for n in range(2000)]
        await filled_with(storage, *small, *large)
        reader = Reader(storage)

        fold, _ = await reader.load("board")
        await reader.write_snapshot("board", 2600, 0)

        assert (fold.seq, fold.state.tree.to_json()["k"]) == (2600, f"{1999:020000}")
        assert storage.largest_bytes < 24 << 20

    asyncio.run(main())


def test_a_log_with_an_operation_that_does_not_apply_opens_without_it_and_with_a_snapshot() -> None:
    async def main() -> None:
        storage = MemoryStorage()
        await filled_with(storage, MapSet(ROOT, "a", 1), MapSet(OpId(9, 9), "k", 1), MapSet(ROOT, "b", 2))
        reader = Reader(storage)

        fold, snapshot_seq = await reader.load("board")

        assert (fold.state.tree.to_json(), snapshot_seq) == ({"a": 1, "b": 2}, 3)
        parts, through = await reader.catch_up("board", 0, 3, with_snapshot=True)
        message = decode_server_message(b"".join(parts), Limits())
        assert message.snapshot is not None
        assert (message.snapshot.seq, message.ops, through) == (3, (), 3)

    asyncio.run(main())


def test_the_collector_comes_back_when_the_last_of_two_loads_is_done() -> None:
    pause = CollectorPause()

    with pause:
        with pause:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize("lost", [{25}, {10, 25}])
def test_a_snapshot_that_is_lost_is_made_again_from_what_is_before_it(lost: set[int]) -> None:
    async def main() -> None:
        storage = LossyStorage()
        reader = Reader(await filled(30, storage))
        for seq in (10, 25):
            await reader.write_snapshot("board", seq, 0)
        whole = await reader.load("board")
        storage.lost = lost

        loads = await asyncio.gather(*[reader.load("board") for _ in range(3)])

        assert [(fold.to_parts(), seq) for fold, seq in loads] == [(whole[0].to_parts(), 30)] * 3
        assert (await storage.latest_snapshot("board")).seq == 30  # type: ignore[union-attr]  # it is there

    asyncio.run(main())


@pytest.mark.parametrize("error", [BlobLostError, BlobsAwayError])
def test_a_lost_snapshot_is_made_again_from_a_kept_state_and_else_it_says_what_is_lost(
    error: type[BlobLostError | BlobsAwayError],
) -> None:
    async def main() -> None:
        storage = LossyStorage()
        reader = Reader(await filled(30, storage))
        await reader.write_snapshot("board", 10, 0)
        kept = await storage.latest_snapshot("board")
        assert kept is not None
        await storage.save_version("board", 10, "", join_parts(kept.parts), 0)
        await reader.write_snapshot("board", 25, 0)
        whole, _ = await reader.load("board")
        await storage.drop_ops("board", 10)
        storage.error = error
        storage.lost = {10, 25}
        parts, through = await reader.catch_up("board", 0, 30, with_snapshot=True)
        snapshot = decode_server_message(b"".join(parts), Limits()).snapshot
        assert snapshot is not None
        assert (snapshot.seq, through) == (30, 30)
        assert (await reader.load("board"))[0].to_parts() == whole.to_parts()

        await storage.drop_ops("board", 29)
        storage.lost = {25, 30}
        with pytest.raises(error, match=r"log goes back to 30 only, .* restore the database and its blobs"):
            await reader.load("board")

    asyncio.run(main())
