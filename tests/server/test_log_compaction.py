"""What goes of a room's log, what is kept of it, and what stops that."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.errors import CompactionError, LeaseLostError, RoomNotFoundError, StorageError
from collabkernel.limits import Limits
from collabkernel.room.fold import Fold
from collabkernel.server.compaction import Compaction
from collabkernel.server.log_compaction import (
    CHEAP_STATE_BYTES,
    KEPT_STATES,
    LEASE,
    HourlyStates,
    LogCompaction,
    Outcome,
    bounds_at,
    holding,
    piece_end,
)
from collabkernel.server.reader import Reader
from collabkernel.server.room_history import RoomHistory
from collabkernel.storage.base import Lease, Rest, SnapshotRow, VersionRow
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.room_state import cut, join_parts
from tests.bounds import HANG_S
from tests.examples import examples
from tests.server.raw import eventually
from tests.server.worked_rooms import (
    AT_ONCE,
    HOUR_MS,
    MADE_EVERY_MS,
    ROOM,
    START_MS,
    allowance,
    folded,
    log_of,
    store,
    worked_log,
)

T = TypeVar("T")

END_MS = 2**45
MINE = "this test"


class World:
    """A room that was worked in, and its compaction."""

    def __init__(self, storage: MemoryStorage | None = None) -> None:
        self.storage = storage or MemoryStorage()
        self.compaction = LogCompaction(self.storage, allowance(self.storage), watch=self.watch)
        self.steps: list[tuple[str, int, int]] = []
        self.requests = worked_log(1)

    def watch(self, room_id: str, step: str, done: int, total: int) -> None:
        assert room_id == ROOM
        self.steps.append((step, done, total))

    async def compact(self, before_ms: int = END_MS) -> Outcome | None:
        async with holding(self.storage, MINE) as lease:
            assert lease is not None
            plan = await self.compaction.plan(ROOM, before_ms, ops_min=1)
            return None if plan is None else await self.compaction.carry_out(plan, lease)

    async def snapshot(self, seq: int) -> None:
        await Reader(self.storage).write_snapshot(ROOM, seq, START_MS)

    async def state(self) -> dict[str, bytes]:
        fold, _ = await Reader(self.storage).load(ROOM)
        return fold.to_parts()

    async def kept(self) -> list[int]:
        return [row.seq for row in await self.storage.versions(ROOM)]

    async def dropped(self) -> int:
        row = await self.storage.head(ROOM)
        assert row is not None
        return row.dropped_seq


def run(scenario: Callable[[World], Awaitable[None]], storage: MemoryStorage | None = None) -> None:
    async def main() -> None:
        world = World(storage)
        await world.storage.open()
        await store(world.storage, world.requests)
        await scenario(world)

    asyncio.run(main())


class Weighed(Compaction):
    """Notes what work counts for, and how long transactions do."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage, AT_ONCE, lambda: 0, has_peers=False)
        self.weights: list[int] = []
        self.rests_s: list[float] = []

    async def work(self, function: Callable[[], T], weight: int = 1) -> T:
        self.weights.append(weight)
        return await super().work(function, weight)

    async def rest(self, took_s: float) -> None:
        self.rests_s.append(took_s)
        await super().rest(took_s)


class TimedStorage(MemoryStorage):
    """Takes a second for a drop."""

    async def drop_ops(self, room_id: str, upto_seq: int, lease: Lease | None = None, rest: Rest | None = None) -> int:
        assert rest is not None
        await rest(1.0)
        return await super().drop_ops(room_id, upto_seq, lease)


def test_what_holds_up_others_counts_more_than_once() -> None:
    async def scenario(world: World) -> None:
        work = Weighed(world.storage)
        world.compaction = LogCompaction(world.storage, work, weight=3)

        outcome = await world.compact()

        assert outcome is not None
        assert outcome.error is None
        assert set(work.weights) == {3}
        assert work.rests_s == [2.0], "the lock of all writers, and a core"

    run(scenario, TimedStorage())


def test_what_is_old_goes_and_the_room_is_the_same() -> None:
    async def scenario(world: World) -> None:
        log = await log_of(world.storage)
        cutoff_ms = START_MS + 30 * MADE_EVERY_MS
        old = [row.seq for row in log if row.hlc >> 16 < cutoff_ms]

        outcome = await world.compact(cutoff_ms)

        assert outcome is not None
        assert outcome.error is None
        assert (outcome.ops_dropped, outcome.ops_left) == (len(old), len(log) - len(old))
        assert await world.dropped() == len(old)
        assert await log_of(world.storage) == log[len(old) :]
        assert await world.state() == folded(log)
        assert await world.compact(cutoff_ms) is None, "there is nothing left to do"

    run(scenario)


def test_of_each_hour_the_last_state_is_kept_and_shown() -> None:
    async def scenario(world: World) -> None:
        log = await log_of(world.storage)
        before = {row.seq: folded(log[: row.seq]) for row in log}
        outcome = await world.compact()
        assert outcome is not None

        hours = [(row.hlc >> 16) // HOUR_MS for row in log]
        ends = [row.seq for row, hour, later in zip(log, hours, hours[1:], strict=False) if hour != later]
        assert await world.kept() == sorted({*ends, len(log) - 1})
        assert outcome.states == len(await world.kept())
        history = RoomHistory(world.storage, Reader(world.storage), Limits())
        for seq in await world.kept():
            assert await history.state_at(ROOM, seq=seq) == join_parts(before[seq])
            made_ms = log[seq - 1].hlc >> 16
            assert cut(await history.state_at(ROOM, at_ms=made_ms)).seq == seq

    run(scenario)


def test_a_log_that_does_not_make_its_snapshot_stays() -> None:
    async def scenario(world: World) -> None:
        log = await log_of(world.storage)
        wrong = Fold()
        wrong.apply_rows(log[:-1])
        wrong.settle()
        wrong.seq, wrong.hlc = log[-1].seq, log[-1].hlc
        await world.storage.save_snapshot(SnapshotRow(ROOM, wrong.seq, wrong.to_parts()), START_MS)

        outcome = await world.compact()

        assert outcome is not None
        assert isinstance(outcome.error, CompactionError)
        assert outcome.error.seq == wrong.seq
        assert outcome.error.parts
        assert outcome.ops_dropped == outcome.states == 0
        assert await log_of(world.storage) == log
        assert await world.kept() == []

    run(scenario)


def test_a_snapshot_within_what_goes_is_compared_and_another_is_written_behind_it() -> None:
    async def scenario(world: World) -> None:
        log = await log_of(world.storage)
        await world.snapshot(10)
        outcome = await world.compact()
        assert outcome is not None
        assert outcome.ops_left == 1
        row = await world.storage.head(ROOM)
        assert row is not None
        assert row.snapshot_seq == len(log)

    run(scenario)


def test_what_is_kept_must_read_as_what_was_to_be_kept() -> None:
    class Damaged(MemoryStorage):
        async def version_state(self, room_id: str, seq: int) -> bytes | None:
            state = await super().version_state(room_id, seq)
            return None if state is None else state[:-1]

    async def scenario(world: World) -> None:
        outcome = await world.compact()
        assert outcome is not None
        assert isinstance(outcome.error, StorageError)
        assert "is not what was to be kept" in str(outcome.error)
        assert await world.dropped() == 0

    run(scenario, Damaged())


class Interrupted(MemoryStorage):
    """Fails at one of its writes."""

    def __init__(self, writes_left: int) -> None:
        super().__init__()
        self.writes_left = writes_left

    def _count(self) -> None:
        self.writes_left -= 1
        if self.writes_left == 0:
            raise StorageError("a power cut")

    async def save_snapshot(self, snapshot: SnapshotRow, now_ms: int) -> None:
        self._count()
        await super().save_snapshot(snapshot, now_ms)

    async def save_version(self, *args: object, **kwargs: object) -> None:
        self._count()
        await super().save_version(*args, **kwargs)  # type: ignore[arg-type]  # as they came

    async def drop_ops(self, room_id: str, upto_seq: int, lease: Lease | None = None, rest: Rest | None = None) -> int:
        row = await self.head(room_id)
        assert row is not None
        dropped = 0
        for seq in range(row.dropped_seq + 10, upto_seq + 10, 10):
            self._count()
            dropped += await super().drop_ops(room_id, min(seq, upto_seq), lease)
            if rest is not None:
                await rest(0)
        return dropped


@pytest.mark.parametrize("writes", [1, 2, 3, 7, 15, 19, 20, 21, 25])
def test_whatever_was_interrupted_is_taken_up(writes: int) -> None:
    storage = Interrupted(writes)

    async def scenario(world: World) -> None:
        log = await log_of(world.storage)
        first = await world.compact()
        assert first is not None
        assert str(first.error) == "a power cut"
        assert await world.state() == folded(log)
        world.steps.clear()

        second = await world.compact()

        assert second is not None
        assert second.error is None
        assert first.ops_dropped + second.ops_dropped == len(log) - 1
        assert await world.state() == folded(log)
        assert (await world.kept())[-1] == await world.dropped() == len(log) - 1
        if first.states == second.states:
            assert {step for step, _, _ in world.steps} == {"drop"}, "what was checked before is not checked again"

    run(scenario, storage)


def test_nobody_goes_on_whose_lease_somebody_else_has() -> None:
    async def scenario(world: World) -> None:
        log = await log_of(world.storage)
        async with holding(world.storage, "one", ttl_ms=60_000) as lease, holding(world.storage, "two") as second:
            assert lease is not None
            assert second is None, "one process compacts at a time"
            await world.storage.release_lease(lease)
            assert await world.storage.acquire_lease(LEASE, "three", 60_000)
            plan = await world.compaction.plan(ROOM, END_MS, 1)
            assert plan is not None
            with pytest.raises(LeaseLostError):
                await world.compaction.carry_out(plan, lease)
        assert await log_of(world.storage) == log
        assert await world.kept() == []

    run(scenario)


def test_a_lease_is_held_for_as_long_as_it_takes_and_given_back() -> None:
    async def scenario(world: World) -> None:
        async with holding(world.storage, "one", ttl_ms=1500) as lease:
            assert lease is not None

            async def is_renewed() -> bool:
                return time.time_ns() // 1_000_000 > lease.expires_ms and await world.storage.holds_lease(lease)

            await eventually(is_renewed)
        assert await world.storage.acquire_lease(LEASE, "two", 1)

    run(scenario)


def test_a_room_that_was_made_anew_is_left_alone() -> None:
    async def scenario(world: World) -> None:
        async with holding(world.storage, MINE) as lease:
            assert lease is not None
            plan = await world.compaction.plan(ROOM, END_MS, 1)
            assert plan is not None
            await world.storage.delete_room(ROOM)
            await world.storage.create_room(ROOM, START_MS + 1)
            for request in world.requests:
                await world.storage.new_site(ROOM, request.site, request.actor, 2, bytes(32), START_MS)
            await world.storage.append(world.requests)
            outcome = await world.compaction.carry_out(plan, lease)
            assert isinstance(outcome.error, RoomNotFoundError)
            await world.storage.delete_room(ROOM)
            assert isinstance((await world.compaction.carry_out(plan, lease)).error, StorageError)
        assert await world.kept() == []

    run(scenario)


def test_little_is_left_for_another_time() -> None:
    async def scenario(world: World) -> None:
        log = await log_of(world.storage)
        tenth_ms = log[len(log) // 10].hlc >> 16
        half_ms = log[len(log) // 2].hlc >> 16
        plan = world.compaction.plan
        assert await plan(ROOM, tenth_ms, ops_min=1) is None, "all of the log would be folded for a tenth of it"
        assert await plan(ROOM, half_ms, ops_min=1) is not None
        assert await plan(ROOM, half_ms, ops_min=len(log)) is None
        assert await plan(ROOM, START_MS, ops_min=1) is None
        assert await plan("nowhere", END_MS, ops_min=1) is None
        await world.storage.create_room("empty", START_MS)
        assert await plan("empty", END_MS, ops_min=1) is None

    run(scenario)


def test_documents_of_jupyterlab_are_left_to_others() -> None:
    async def scenario(world: World) -> None:
        await world.storage.create_room("text:file:1", START_MS)
        assert [room async for room in world.compaction.rooms()] == [ROOM]
        assert await world.compaction.plan("text:file:1", END_MS, 1) is None

    run(scenario)


def test_it_is_told_how_far_it_is() -> None:
    async def scenario(world: World) -> None:
        await world.compact()
        log_length = world.steps[-1][2] + 1
        for name in ("check", "drop"):
            steps = [(done, total) for step, done, total in world.steps if step == name]
            assert steps == sorted(steps)
            assert steps[-1][0] == steps[-1][1]
        assert log_length == len(await log_of(world.storage)) + await world.dropped()

    run(scenario, Interrupted(0))


@given(st.integers(0, 10**9))
@examples(10)
def test_a_room_that_is_compacted_at_any_time_is_what_its_twin_is(seed: int) -> None:
    rng, requests = random.Random(seed), worked_log(seed)

    async def main() -> None:
        world, twin = World(), MemoryStorage()
        await world.storage.open()
        await twin.open()
        while requests:
            count = rng.randint(1, 20)
            batch, requests[:] = requests[:count], requests[count:]
            await store(world.storage, batch)
            await store(twin, batch)
            head = (await log_of(twin))[-1].seq
            if rng.random() < 0.5:
                row = await world.storage.head(ROOM)
                assert row is not None
                await world.snapshot(rng.randint(max(row.dropped_seq + 1, row.snapshot_seq), head))
            if rng.random() < 0.7:
                outcome = await world.compact(START_MS + rng.randint(0, 60) * MADE_EVERY_MS)
                assert outcome is None or outcome.error is None, outcome
            whole = await log_of(twin)
            assert await world.state() == folded(whole)
            assert await log_of(world.storage) == whole[await world.dropped() :]
            history = RoomHistory(world.storage, Reader(world.storage), Limits())
            for seq in [*await world.kept(), rng.randint(await world.dropped(), head)]:
                assert await history.state_at(ROOM, seq=seq) == join_parts(folded(whole[:seq]))

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def states_of(seqs: Sequence[int], size: int = 10) -> HourlyStates:
    states = HourlyStates([VersionRow(1, "", 0, size), VersionRow(2, "", 1, size)])
    for seq in seqs:
        states.add(seq, seq, b"x" * size)
    return states


def test_kept_states_take_a_share_of_what_their_log_took() -> None:
    small = states_of(range(3, 3 + 2 * KEPT_STATES), size=0).new()
    assert len(small) <= KEPT_STATES
    assert small[-1][0].seq == 2 + 2 * KEPT_STATES
    seqs = range(1000, 101_000, 1000)
    large = states_of(seqs, size=100_000).new()
    assert sum([len(data) for _, data in large]) <= bounds_at(100_000).bytes_max
    assert large[-1] == (VersionRow(100_000, "", 100_000, 100_000), b"x" * 100_000)
    (one,) = states_of([7], size=10**9).new()
    assert one[0].seq == 7, "where the log is to begin there is always one"


def test_large_states_are_kept_when_their_log_has_paid_for_them() -> None:
    states = HourlyStates([])
    assert states.can_pay(1)
    states.add(1, 1, bytes(CHEAP_STATE_BYTES))
    assert states.can_pay(2)
    states.add(2, 2, bytes(10 * CHEAP_STATE_BYTES))
    assert not states.can_pay(3)
    paid = next(seq for seq in range(3, 10**6) if states.can_pay(seq))
    states.add(paid, paid, bytes(10 * CHEAP_STATE_BYTES))
    assert [row.seq for row, _ in states.new()] == [2, paid]
    assert not states.can_pay(paid + 1)


def test_rows_are_folded_together_up_to_an_hour_or_a_stop() -> None:
    async def main() -> None:
        storage = MemoryStorage()
        await storage.open()
        await store(storage, worked_log(1))
        rows = [
            row._replace(seq=seq, hlc=START_MS + seq * HOUR_MS // 4 << 16)
            for seq, row in enumerate(await log_of(storage), 1)
        ]
        assert piece_end(rows, 0, 0, ()) == 3
        assert piece_end(rows, 3, rows[2].hlc, ()) == 7
        assert piece_end(rows, 3, rows[2].hlc, (5,)) == 5
        same_hour = [row._replace(hlc=5) for row in rows] * 100
        assert piece_end(same_hour, 0, START_MS << 16, ()) == 500
        assert piece_end(same_hour[:7], 3, 0, ()) == 7

    asyncio.run(main())
