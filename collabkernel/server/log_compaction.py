"""Compaction of the logs of rooms: operations from before a time go, and of each hour of them the last state stays.

What a room *is* does not change: whoever loads it takes its newest snapshot and the log behind, and neither is touched.
What it *was* changes from every seq to some. One room is done in three steps, each of which may be interrupted and is
taken up by whoever comes next, from what the database has:

1. *Keep.* The log is folded from the newest state that was kept, or the beginning. At the end of each hour of work,
   and where the log is to begin, the state is encoded, and the fold goes on from those bytes. It ends at the newest
   snapshot: if it is not the same there, byte for byte, nothing is kept and nothing goes. So what every kept state and
   the log behind it make was compared with what somebody else has made of them. Only then are they stored, and the last
   one, where the log is to begin, is read back.
2. *Archive*, if there is one: what is to go is written as Parquet files, and read back.
3. *Drop*, some hundred operations in a transaction. A drop that was interrupted goes on to the newest kept state: the
   log below it was checked before.

Whoever does it has the lease ``LEASE``; its token is checked in every transaction that keeps or drops.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

from collabkernel.crdt.clock import hlc_from_ms, ms_from_hlc
from collabkernel.errors import ArchiveError, CompactionError, LeaseLostError, RoomNotFoundError, StorageError
from collabkernel.limits import VERSIONS_BYTES
from collabkernel.room.fold import Fold
from collabkernel.room.names import is_room_name
from collabkernel.server.compaction import Compaction, timed
from collabkernel.storage.archive import Archive
from collabkernel.storage.base import Lease, OpRow, RoomRow, SnapshotRow, Storage, VersionBounds, VersionRow
from collabkernel.storage.compression import compress, decompress
from collabkernel.storage.holding import held
from collabkernel.storage.rules import COMPACTION_LEASE, surplus
from collabkernel.wire.room_state import decode_room, join_parts

log = logging.getLogger(__name__)

LEASE = COMPACTION_LEASE
"""Who compacts rooms: one process at a time, for all of a database."""
LEASE_MS = 10_000
"""Of one that died, another takes over after this; it is renewed three times as often."""
HOUR_MS = 3_600_000
"""Of each hour in which a room was worked in, the last state is kept."""
KEPT_STATES = 1000
"""... and so many of a room: half a year of working days. Over it they are thinned, more the older they are."""
KEPT_BYTES_PER_OP = 5
"""What all of a room's kept states may take for each operation of its log so far, compressed: an operation takes
100 and more in a database. So they take a twentieth of what the log took, but for the one where it begins ..."""
KEPT_BYTES_MIN = 256 << 10
"""... or this, where the log was short."""
CHEAP_STATE_BYTES = 32 << 10
"""A state up to this size, compressed, is kept at the end of every hour, though another goes for it. To encode a
larger one takes its time: it is kept when the log has paid for it."""
PIECE_ROWS = 500
"""Operations that are folded at once, in about 10 ms of a thread; then it rests."""
DROP_WEIGHT = 2
"""What a transaction that drops counts for: it has the lock that all writers want. With the default share of 5 % that
is held for 2.5 % of the time, and of others' writes fewer than one in twenty find it taken."""
WORTH_SHARE = 8
"""A log is compacted when at least this fraction of it goes: all of it is folded for the check."""
ROOMS_LISTED = 1000
"""Rooms that are asked for at a time."""

T = TypeVar("T")

Watch = Callable[[str, str, int, int], None]
"""Told how far it is: room, step, operations done in this step, and all of them."""


class Plan(NamedTuple):
    """What is to be done about one room."""

    room: RoomRow
    kept: Sequence[VersionRow]
    """Its states that were kept before, oldest first."""
    upto_seq: int
    """The log goes up to this operation and with it."""

    @property
    def ops_count(self) -> int:
        """How many operations go."""
        return self.upto_seq - self.room.dropped_seq

    @property
    def kept_seq(self) -> int:
        """Where the newest kept state is; 0 if there is none."""
        return self.kept[-1].seq if self.kept else 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one room."""

    room_id: str
    ops_dropped: int
    ops_left: int
    states: int
    """Kept of it now."""
    states_bytes: int
    error: StorageError | None = None
    """Why there is more left than was planned."""


class HourlyStates:
    """The states of a log that are to be kept, as many as may be. A plain function of its past."""

    def __init__(self, kept: Sequence[VersionRow]) -> None:
        """Begin with those that the room has, oldest first."""
        self._rows = list(kept)
        self._data_by_seq: dict[int, bytes] = {}

    def add(self, seq: int, made_ms: int, data: bytes) -> None:
        """The next one, compressed."""
        self._rows.append(VersionRow(seq, "", made_ms, len(data)))
        self._data_by_seq[seq] = data
        gone = {row.seq for row in surplus(self._rows, bounds_at(seq))}
        self._rows = [row for row in self._rows if row.seq not in gone]
        for each in gone:
            self._data_by_seq.pop(each, None)

    def can_pay(self, seq: int) -> bool:
        """Whether one more, as large as the last, is cheap, or may be had for a log up to there."""
        if not self._rows or self._rows[-1].size_bytes <= CHEAP_STATE_BYTES:
            return True
        size_bytes = sum([row.size_bytes for row in self._rows]) + self._rows[-1].size_bytes
        return size_bytes <= bounds_at(seq).bytes_max

    def new(self) -> list[tuple[VersionRow, bytes]]:
        """Those that the room has not, oldest first, with their compressed bytes."""
        return [(row, self._data_by_seq[row.seq]) for row in self._rows if row.seq in self._data_by_seq]


def bounds_at(seq: int) -> VersionBounds:
    """What may be kept of a log up to there."""
    return VersionBounds(KEPT_STATES, min(VERSIONS_BYTES, max(KEPT_BYTES_MIN, seq * KEPT_BYTES_PER_OP)))


def hour_of(hlc: int) -> int:
    """The hour since the Unix epoch of a stamp."""
    return ms_from_hlc(hlc) // HOUR_MS


def piece_end(rows: Sequence[OpRow], start: int, hlc: int, stops: Collection[int]) -> int:
    """Where the rows end that are folded together from ``start`` on.

    Args:
        rows: Of the log.
        start: An index.
        hlc: The highest stamp before.
        stops: Seqs after which something is done with the state.
    """
    hour = hour_of(max(hlc, rows[start].hlc))
    for end in range(start, min(start + PIECE_ROWS, len(rows))):
        if hour_of(rows[end].hlc) > hour:
            return end
        if rows[end].seq in stops:
            return end + 1
    return min(start + PIECE_ROWS, len(rows))


class _Walk:
    """A fold of a log, whose states are kept on its way."""

    def __init__(self, fold: Fold, kept: Sequence[VersionRow]) -> None:
        self.fold = fold
        self.states = HourlyStates(kept)
        self._kept_seq = fold.seq

    def is_to_be_kept(self, following: OpRow) -> bool:
        """Whether the state is the last of its hour, and not kept yet."""
        fold = self.fold
        is_last = fold.seq > self._kept_seq and hour_of(following.hlc) > hour_of(fold.hlc)
        return is_last and self.states.can_pay(fold.seq)

    def keep(self) -> str:
        """Keep the state, and go on from what is kept; what its bytes hash to."""
        fold = self.fold
        fold.settle()
        state = join_parts(fold.to_parts())
        self.states.add(fold.seq, ms_from_hlc(fold.hlc), compress(state))
        self._kept_seq = fold.seq
        self.fold = _fold_of(state)
        return _hash(state)

    def parts(self) -> dict[str, bytes]:
        """The state as a snapshot has it."""
        self.fold.settle()
        return self.fold.to_parts()


class LogCompaction:
    """Compacts rooms, one after the other."""

    def __init__(
        self,
        storage: Storage,
        work: Compaction,
        *,
        archive: Archive | None = None,
        watch: Watch | None = None,
        weight: int = 1,
    ) -> None:
        """Begin nothing yet.

        Args:
            storage: The database.
            work: Whose turns and allowance it takes.
            archive: Where dropped operations go.
            watch: Is told how far it is.
            weight: How many times its work counts against the allowance.
        """
        self._storage = storage
        self._work = work
        self._weight = weight
        self._archive = archive
        self._watch = watch or _unwatched

    async def rooms(self) -> AsyncIterator[str]:
        """All that may be compacted here: documents of JupyterLab are compacted while they are open."""
        after: str | None = ""
        while after is not None:
            rows = await self._storage.list_rooms(ROOMS_LISTED, after)
            for row in rows:
                if is_room_name(row.room_id):
                    yield row.room_id
            after = rows[-1].room_id if len(rows) == ROOMS_LISTED else None

    async def plan(self, room_id: str, before_ms: int, ops_min: int) -> Plan | None:
        """What may go of a room's log; None if nothing may, or it is not worth it.

        Args:
            room_id: The room.
            before_ms: Only what was made before this, and nothing behind the first operation made later.
            ops_min: Not worth it below.

        Raises:
            StorageError: The database does not answer.
        """
        room = await self._storage.head(room_id)
        if room is None or not is_room_name(room_id):
            return None
        plan = Plan(room, await self._storage.versions(room_id), 0)
        old_seq = await self._storage.seq_before(room_id, hlc_from_ms(before_ms) - 1)
        plan = plan._replace(upto_seq=min(old_seq, room.seq - 1))  # the newest stays, so that who has it can resume
        if plan.ops_count < max(ops_min, (room.seq - room.dropped_seq) // WORTH_SHARE):
            plan = plan._replace(upto_seq=plan.kept_seq)
        return plan if plan.ops_count > 0 else None

    async def carry_out(self, plan: Plan, lease: Lease) -> Outcome:
        """Do it.

        Raises:
            LeaseLostError: Somebody else does it by now.
        """
        error: StorageError | None = None
        try:
            if plan.kept_seq < plan.upto_seq:
                await self._keep(plan, lease)
            if self._archive is not None:
                await self._put_away(plan, self._archive)
            await self._drop(plan, lease)
        except LeaseLostError:
            raise
        except StorageError as failure:
            error = failure
        return await self._outcome(plan, error)

    async def _outcome(self, plan: Plan, error: StorageError | None) -> Outcome:
        before = plan.room
        room = await self._storage.head(before.room_id)
        if room is None or room.created_ms != before.created_ms:
            return Outcome(before.room_id, 0, 0, 0, 0, RoomNotFoundError(before.room_id))
        kept = await self._storage.versions(before.room_id)
        dropped, left = room.dropped_seq - before.dropped_seq, room.seq - room.dropped_seq
        return Outcome(room.room_id, dropped, left, len(kept), sum([row.size_bytes for row in kept]), error)

    # -- the three steps

    async def _keep(self, plan: Plan, lease: Lease) -> None:
        """Fold the log, compare, and store the states that are kept of it.

        Raises:
            CompactionError: The log does not make the snapshot.
        """
        room_id = plan.room.room_id
        snapshot = await self._storage.latest_snapshot(room_id)
        known = None if snapshot is None else (snapshot.seq, _hashes(snapshot.parts))
        del snapshot  # it may be large
        walk = _Walk(await self._base(plan), plan.kept)
        floor = await self._walk(plan, walk, known)
        if known is None or known[0] <= plan.upto_seq:
            parts = await self._turn(walk.parts)
            await self._storage.save_snapshot(SnapshotRow(room_id, walk.fold.seq, parts), ms_from_hlc(walk.fold.hlc))
        await self._check_same(plan)
        for row, data in walk.states.new():
            state = decompress(data, "a state in memory")
            bounds = bounds_at(plan.upto_seq)
            await self._storage.save_version(room_id, row.seq, "", state, row.created_ms, bounds, lease)
        if _hash(await self._storage.version_state(room_id, plan.upto_seq) or b"") != floor:
            raise StorageError(f"room {room_id!r}: what was kept at {plan.upto_seq} is not what was to be kept there")

    async def _base(self, plan: Plan) -> Fold:
        if plan.kept_seq == 0:
            return Fold()
        state = await self._storage.version_state(plan.room.room_id, plan.kept_seq)
        if state is None:
            raise StorageError(f"room {plan.room.room_id!r} has lost what was kept at {plan.kept_seq}")
        return await self._turn(partial(_fold_of, state))

    async def _walk(self, plan: Plan, walk: _Walk, known: tuple[int, Mapping[str, str]] | None) -> str:
        """Fold to the end; the hash of the state where the log is to begin."""
        room_id, start = plan.room.room_id, walk.fold.seq
        end = known[0] if known is not None and known[0] > plan.upto_seq else plan.room.seq
        stops = {plan.upto_seq} | ({known[0]} if known is not None else set())
        floor = ""
        async for rows in self._storage.read_ops(room_id, start, end):
            at = 0
            while at < len(rows):
                if walk.fold.seq < plan.upto_seq and walk.is_to_be_kept(rows[at]):
                    await self._turn(walk.keep)
                until = piece_end(rows, at, walk.fold.hlc, stops)
                await self._turn(partial(walk.fold.apply_rows, rows[at:until]))
                at = until
                if walk.fold.seq == plan.upto_seq:
                    floor = await self._turn(walk.keep)
                if known is not None and walk.fold.seq == known[0]:
                    _compare(room_id, walk.fold.seq, known[1], _hashes(await self._turn(walk.parts)))
                self._watch(room_id, "check", walk.fold.seq - start, end - start)
        if walk.fold.seq != end:
            raise StorageError(f"room {room_id!r} was read up to {walk.fold.seq}, and should go on to {end}")
        return floor

    async def _put_away(self, plan: Plan, archive: Archive) -> None:
        """Write what is to be dropped into the archive, as far as it is not there.

        Raises:
            ArchiveError: It cannot be used, or has another past of this room.
        """
        room = plan.room
        last = await self._aside(partial(archive.last, room))
        begun = after = max(room.dropped_seq, last.seq if last is not None else 0)
        if last is not None and last.seq > room.dropped_seq:
            await self._check_past(room, last)
        while after < plan.upto_seq:
            rows = await self._rows_for(archive, room.room_id, after, plan.upto_seq)
            await self._aside(partial(archive.write, room, rows))
            after = rows[-1].seq
            self._watch(room.room_id, "archive", after - begun, plan.upto_seq - begun)

    async def _check_past(self, room: RoomRow, last: OpRow) -> None:
        """Whether what the archive has follows from this log: not when the database was restored from a backup."""
        if await self._storage.op_at(room.room_id, last.seq) != last:
            raise ArchiveError(
                f"the archive's operation {last.seq} of room {room.room_id!r} is not the one of the database, which may"
                " be a restored backup: move the archive's folder of this room elsewhere, and the whole log goes there"
            )

    async def _rows_for(self, archive: Archive, room_id: str, after_seq: int, upto_seq: int) -> list[OpRow]:
        """What goes into one file."""
        rows: list[OpRow] = []
        async for chunk in self._storage.read_ops(room_id, after_seq, upto_seq):
            rows += chunk
            if archive.is_full(rows):
                break
        return rows

    async def _drop(self, plan: Plan, lease: Lease) -> None:
        """Drop what is kept otherwise by now."""
        room_id = plan.room.room_id

        async def rest(took_s: float) -> None:
            row = await self._storage.head(room_id)
            if row is not None:
                self._watch(room_id, "drop", row.dropped_seq - plan.room.dropped_seq, plan.ops_count)
            await self._work.rest(took_s * DROP_WEIGHT)

        await self._check_same(plan)
        await self._storage.latest_snapshot(room_id)  # it raises when the snapshot is damaged
        await self._storage.drop_ops(room_id, plan.upto_seq, lease, rest)

    async def _check_same(self, plan: Plan) -> None:
        """Leave a room alone that was made anew under the same name."""
        row = await self._storage.head(plan.room.room_id)
        if row is None or row.created_ms != plan.room.created_ms:
            raise RoomNotFoundError(plan.room.room_id)

    async def _aside(self, work: Callable[[], T]) -> T:
        """Do what may wait for long, for somebody else's disk, and rest for it: others need not wait as well."""
        result, cpu_s = await asyncio.to_thread(timed, work)
        await self._work.rest(cpu_s * self._weight)
        return result

    async def _turn(self, work: Callable[[], T]) -> T:
        async with self._work.turn():
            return await self._work.work(work, self._weight)


def holding(storage: Storage, holder: str, ttl_ms: int = LEASE_MS) -> AbstractAsyncContextManager[Lease | None]:
    """Hold the lease of compaction as long as the block lasts; None while somebody else does.

    Raises:
        StorageError: The database does not answer.
    """
    return held(storage, LEASE, holder, ttl_ms)


def _unwatched(*_progress: str | int) -> None:
    """Nobody wants to know."""


def _fold_of(state: bytes) -> Fold:
    return Fold(*decode_room(state, client_id=None, is_trusted=True))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hashes(parts: Mapping[str, bytes]) -> dict[str, str]:
    return {name: _hash(part) for name, part in parts.items()}


def _compare(room_id: str, seq: int, stored: Mapping[str, str], folded: Mapping[str, str]) -> None:
    if stored != folded:
        names = sorted(stored.keys() | folded.keys())
        raise CompactionError(room_id, seq, [name for name in names if stored.get(name) != folded.get(name)])
