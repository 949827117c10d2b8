"""What rooms were: states at a seq or a time, and who made what."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import MapSet
from collabkernel.errors import (
    InvalidRoomNameError,
    InvalidValueError,
    NotKeptError,
    RoomNotFoundError,
    TooLargeError,
    TooManyError,
)
from collabkernel.limits import Limits
from collabkernel.room.fold import Fold
from collabkernel.server.reader import Reader
from collabkernel.server.room_history import PastStates, RoomHistory
from collabkernel.storage.base import AppendRequest, OriginRow, SnapshotRow
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.ops import encode_op, op_kind
from collabkernel.wire.room_state import decode_room

ROOM = "plan"
NOW_MS = 1_800_000_000_000


class World:
    """A room in which ``n`` counts up, once a second."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.storage = MemoryStorage()
        self.reader = Reader(self.storage)
        self.history = RoomHistory(self.storage, self.reader, limits or Limits())

    async def count(self, to: int) -> None:
        await self.storage.open()
        await self.storage.create_room(ROOM, NOW_MS)
        await self.storage.new_site(ROOM, 7, "ann", 1, bytes(32), NOW_MS)
        for n in range(1, to + 1):
            op = MapSet(ROOT, "n", n)
            made = ((op_kind(op), encode_op(op)),)
            await self.storage.append([AppendRequest(ROOM, 7, 1, n, n - 1, NOW_MS + n * 1000 << 16, "ann", made)])

    async def at(self, **when: int) -> tuple[int, Any]:
        state, seq, _ = decode_room(await self.history.state_at(ROOM, **when), None)
        return seq, state.tree.to_json().get("n")


def run(world: World, check: Any, count: int = 6) -> None:
    async def test() -> None:
        await world.count(count)
        await check()

    asyncio.run(test())


def test_every_seq_is_there_before_and_behind_the_snapshot() -> None:
    world = World()

    async def check() -> None:
        before = [await world.at(seq=seq) for seq in range(7)]
        await world.reader.write_snapshot(ROOM, 4, NOW_MS)
        assert before == [await world.at(seq=seq) for seq in range(7)] == [(seq, seq or None) for seq in range(7)]
        with pytest.raises(InvalidValueError):
            await world.at(seq=7)
        with pytest.raises(InvalidValueError):
            await world.at()
        with pytest.raises(RoomNotFoundError):
            await world.history.state_at("nowhere", seq=0)
        with pytest.raises(InvalidRoomNameError):
            await world.history.state_at("no such/room", seq=0)

    run(world, check)


def test_a_time_is_what_was_made_by_then() -> None:
    world = World()

    async def check() -> None:
        for late_ms, seq in ((0, 0), (999, 0), (1000, 1), (3500, 3), (10_000, 6)):
            assert (await world.at(at_ms=NOW_MS + late_ms))[0] == seq
        assert (await world.at(at_ms=2**48 - 1))[0] == 6
        with pytest.raises(InvalidValueError):
            await world.at(at_ms=2**48)

    run(world, check)


def test_what_it_may_cost_is_bounded_and_a_snapshot_cuts_it_short() -> None:
    world = World(replace(Limits(), past_ops=3))

    async def check() -> None:
        with pytest.raises(TooLargeError):
            await world.at(seq=5)
        await world.storage.save_snapshot(await snapshot_at(world, 2), NOW_MS)
        assert await world.at(seq=5) == (5, 5)

    run(world, check)


def test_a_past_state_that_was_looked_at_is_gone_on_from() -> None:
    world = World(replace(Limits(), past_ops=3))

    async def check() -> None:
        for seq in (3, 6, 5, 2, 6):
            assert await world.at(seq=seq) == (seq, seq)
        await world.reader.write_snapshot(ROOM, 6, NOW_MS)
        assert await world.at(seq=4) == (4, 4)

    run(world, check)


def test_kept_states_are_bounded_and_of_their_room() -> None:
    known = PastStates(10)
    known.keep("a", 1, 5, b"12345")
    known.keep("a", 1, 9, b"1234")
    assert known.nearest("a", 1, 4) is known.nearest("a", 2, 9) is known.nearest("b", 1, 9) is None
    assert known.nearest("a", 1, 99) == (9, b"1234")
    assert known.nearest("a", 1, 8) == (5, b"12345")
    known.keep("b", 1, 1, b"12")
    assert known.nearest("a", 1, 99) == (5, b"12345")
    assert known.nearest("b", 1, 1) == (1, b"12")
    known.keep("b", 1, 1, b"x" * 11)
    assert known.nearest("b", 1, 1) is known.nearest("a", 1, 9) is None


async def compact(world: World, upto_seq: int, *kept: int) -> None:
    """Keep some states, and drop the log up to a seq."""
    for seq in kept:
        state = await world.history.state_at(ROOM, seq=seq)
        await world.storage.save_version(ROOM, seq, "", state, NOW_MS + seq * 1000)
    await world.reader.write_snapshot(ROOM, 9, NOW_MS)
    await world.storage.drop_ops(ROOM, upto_seq)
    world.history = RoomHistory(world.storage, world.reader, Limits())  # one that has looked at nothing


def test_below_the_log_are_the_states_that_were_kept() -> None:
    world = World()

    async def check() -> None:
        await compact(world, 6, 2, 4, 6)
        assert [await world.at(seq=seq) for seq in (0, 2, 4, 6, 7, 8, 9, 10)] == [
            (seq, seq or None) for seq in (0, 2, 4, 6, 7, 8, 9, 10)
        ]
        for seq, before, after in ((1, None, 2), (3, 2, 4), (5, 4, 6)):
            with pytest.raises(NotKeptError) as raised:
                await world.at(seq=seq)
            assert (raised.value.before_seq, raised.value.after_seq) == (before, after)
            assert str(after) in str(raised.value)

    run(world, check, count=10)


def test_a_time_below_the_log_gives_the_last_state_that_was_kept_and_made_by_then() -> None:
    world = World()

    async def check() -> None:
        await compact(world, 6, 2, 4, 6)
        late_ms = (2000, 3999, 4000, 5999, 6500, 7000, 99_000)
        assert [(await world.at(at_ms=NOW_MS + each))[0] for each in late_ms] == [2, 2, 4, 4, 6, 7, 10]
        assert await world.at(at_ms=NOW_MS - 1) == (0, None)
        with pytest.raises(NotKeptError) as raised:
            await world.at(at_ms=NOW_MS + 1999)
        assert raised.value.after_seq == 2

    run(world, check, count=10)


def test_a_drop_that_was_interrupted_leaves_what_was_kept() -> None:
    world = World()

    async def check() -> None:
        await compact(world, 5, 2, 7)  # it was to go on to 7
        assert [await world.at(seq=seq) for seq in (2, 7, 8)] == [(2, 2), (7, 7), (8, 8)]
        with pytest.raises(NotKeptError) as raised:
            await world.at(seq=6)
        assert (raised.value.before_seq, raised.value.after_seq) == (2, 7)
        assert (await world.at(at_ms=NOW_MS + 6000))[0] == 2

    run(world, check, count=10)


async def snapshot_at(world: World, seq: int) -> SnapshotRow:
    fold = Fold()
    async for rows in world.storage.read_ops(ROOM, 0, seq):
        fold.apply_rows(rows)
    fold.settle()
    return SnapshotRow(ROOM, seq, fold.to_parts())


def test_authors_are_told_and_not_too_many_at_once() -> None:
    world = World(replace(Limits(), authors_asked=2))

    async def check() -> None:
        found = await world.history.authors(ROOM, [(7, 2), (7, 9)], [7, 8])
        assert found.ops == [OriginRow(7, 2, 2, NOW_MS + 2000 << 16, "ann")]
        assert found.actor_by_site == {7: "ann"}
        with pytest.raises(TooManyError):
            await world.history.authors(ROOM, [OpId(7, 1)] * 3, [])
        with pytest.raises(RoomNotFoundError):
            await world.history.authors("nowhere", [], [7])

    run(world, check)
