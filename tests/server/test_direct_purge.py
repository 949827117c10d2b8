"""Purging by hand: as the room's keeper for the moment, beside servers, and never in place of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import ListDelete, MapDelete, MapSet, Purge
from collabkernel.errors import RoomNotFoundError, StorageError
from collabkernel.limits import PURGED_IDS
from collabkernel.room.keeper import KEEPER_ACTOR, KEEPER_SITE
from collabkernel.server.direct_purge import DirectPurge
from collabkernel.server.keeper_leases import KeeperLeases
from collabkernel.server.reader import Reader
from collabkernel.storage.base import Appended, AppendRequest, NotAppended
from tests.server.test_purging import LIMITS, LIST, World, run
from tests.server.worked_rooms import ROOM, allowance, log_of

Meanwhile = Callable[[], Awaitable[object]]


async def nothing() -> None:
    """Nobody is there."""


class Hand:
    """Who purges by hand."""

    def __init__(self, world: World, holder: str = "hand") -> None:
        self._storage = world.storage
        self.leases = KeeperLeases(world.storage, holder, LIMITS, lambda: world.now_ms)
        reader, work = Reader(world.storage), allowance(world.storage)
        self._purge = DirectPurge(world.storage, reader, self.leases, work, lambda: world.now_ms)

    async def purge(self, *ops: Purge) -> int | None:
        row = await self._storage.head(ROOM)
        assert row is not None
        return await self._purge.purge(ROOM, ops, row.seq)

    async def purge_while(
        self,
        *ops: Purge,
        before: Callable[[], Awaitable[object]] = nothing,
        after: Callable[[], Awaitable[object]] = nothing,
    ) -> int | None:
        """Purge, and do something before or after the first operations of it are stored."""
        append = self._storage.append

        async def around(batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
            self._storage.append = append  # type: ignore[method-assign]  # once
            await before()
            answers = await append(batch)
            await after()
            return answers

        self._storage.append = around  # type: ignore[method-assign]  # the moment between two of its steps
        return await self.purge(*ops)


async def filled(world: World, count: int = 10, deleted: int = 9) -> Purge:
    """A room with so many elements and keys, of which the first elements and one key are deleted."""
    await world.fill(count)
    await world.do(*[ListDelete(LIST, world.element(n)) for n in range(deleted)], MapDelete(ROOT, "k1"))
    return Purge(LIST, tuple(sorted(world.element(n) for n in range(deleted))))


async def plain(world: World) -> object:
    fold, _ = await Reader(world.storage).load(ROOM)
    return fold.state.tree.to_json()


def test_what_was_deleted_is_purged_in_steps_and_a_snapshot_is_without_it() -> None:
    async def scenario(world: World) -> None:
        ops = await filled(world, PURGED_IDS + 500, PURGED_IDS + 100)
        before = await plain(world)
        first, second = Purge(LIST, ops.ids[:PURGED_IDS]), Purge(LIST, ops.ids[PURGED_IDS:])

        assert await Hand(world).purge(first, second) == PURGED_IDS + 100

        assert await plain(world) == before
        rows = [row for row in await log_of(world.storage) if row.actor == KEEPER_ACTOR]
        assert [(row.counter, row.first_counter) for row in rows] == [(1, 1), (2, 2)]
        snapshot = await world.storage.latest_snapshot(ROOM)
        row = await world.storage.head(ROOM)
        assert snapshot is not None
        assert row is not None
        assert snapshot.seq == row.seq == rows[-1].seq
        assert await Hand(world).purge(first, second) == 0, "nothing is left of it"
        assert await world.storage.head(ROOM) == row

    run(scenario)


def test_a_room_that_a_server_keeps_is_left_to_it() -> None:
    async def scenario(world: World) -> None:
        ops = await filled(world)
        server = Hand(world, "server")
        assert await server.leases.take(ROOM) is not None

        assert await Hand(world).purge(ops) is None

        assert KEEPER_ACTOR not in {row.actor for row in await log_of(world.storage)}

    run(scenario)


def test_what_others_write_meanwhile_is_in_the_snapshot() -> None:
    async def scenario(world: World) -> None:
        ops = await filled(world)

        purged = await Hand(world).purge_while(ops, before=lambda: world.do(MapSet(ROOT, "meanwhile", 1)))

        assert purged == 9
        fold, snapshot_seq = await Reader(world.storage).load(ROOM)
        assert fold.seq == snapshot_seq
        assert fold.state.tree.to_json() == {"l": [9], "meanwhile": 1} | {f"k{n}": n for n in range(10) if n != 1}

    run(scenario)


@pytest.mark.parametrize(("is_taken", "purged"), [(False, PURGED_IDS + 100), (True, PURGED_IDS)])
def test_a_lease_that_ran_out_is_taken_again_if_nobody_has_it(is_taken: bool, purged: int) -> None:
    async def scenario(world: World) -> None:
        ops = await filled(world, PURGED_IDS + 500, PURGED_IDS + 100)
        hand = Hand(world)

        async def run_out() -> None:
            world.now_ms += LIMITS.keeper_lease_ms
            if is_taken:
                keeping = await hand.leases.take(ROOM)
                assert keeping is not None
                await hand.leases.release(ROOM, keeping)
                assert await Hand(world, "server").leases.take(ROOM) is not None

        halves = Purge(LIST, ops.ids[:PURGED_IDS]), Purge(LIST, ops.ids[PURGED_IDS:])
        assert await hand.purge_while(*halves, after=run_out) == purged

    run(scenario)


def test_nothing_is_written_against_a_server_that_took_the_room_over() -> None:
    async def scenario(world: World) -> None:
        ops = await filled(world)

        async def take_over() -> None:
            assert await world.storage.resume_site(ROOM, KEEPER_SITE, world.now_ms) is not None

        with pytest.raises(StorageError, match="was not purged: site 1 was resumed"):
            await Hand(world).purge_while(ops, before=take_over)

        assert KEEPER_ACTOR not in {row.actor for row in await log_of(world.storage)}

    run(scenario)


def test_a_room_that_is_deleted_meanwhile_is_told() -> None:
    async def scenario(world: World) -> None:
        ops = await filled(world)
        with pytest.raises(RoomNotFoundError):
            await Hand(world).purge_while(ops, after=lambda: world.storage.delete_room(ROOM))

    run(scenario)
