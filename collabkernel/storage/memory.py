"""The op log in this process's memory: the twin of ``sql``, for tests and ``memory://``. It ends with its object."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from collabkernel.errors import ClosedError, RoomNotFoundError, StorageError
from collabkernel.storage.append import AppendPlan, RoomHead, SiteHead, answer_from_log, plan_append, storable_refusal
from collabkernel.storage.base import (
    Appended,
    AppendRequest,
    NotAppended,
    OpRow,
    Refusal,
    RoomRow,
    SiteRow,
    SnapshotRow,
)

_READ_CHUNK_ROWS = 5000
_SNAPSHOTS_KEPT = 2


@dataclass(slots=True)
class _Room:
    """All that belongs to one room."""

    row: RoomRow
    log: list[OpRow] = field(default_factory=list)
    """The operation at seq n is at index n - 1."""
    seq_by_op: dict[tuple[int, int], int] = field(default_factory=dict)
    """By site and counter."""
    site_by_number: dict[int, SiteRow] = field(default_factory=dict)
    refusal_by_first: dict[tuple[int, int], Refusal] = field(default_factory=dict)
    """By site and first counter."""
    snapshots: dict[int, dict[str, bytes]] = field(default_factory=dict)
    """Parts by seq."""

    def found(self, site: int, counter: int) -> Appended | Refusal | None:
        """What the log or the refusals have at a counter."""
        seq = self.seq_by_op.get((site, counter))
        if seq is not None:
            return Appended(seq, self.log[seq - 1].hlc, duplicate=True)
        return self.refusal_by_first.get((site, counter))

    def grow(self, head: RoomHead, rows: list[OpRow], now_ms: int) -> None:
        """Put operations on the end of the log."""
        self.log += rows
        for row in rows:
            self.seq_by_op[row.site, row.counter] = row.seq
            site = self.site_by_number[row.site]
            if row.counter > site.last_counter:
                self.site_by_number[row.site] = replace(site, last_counter=row.counter)
        self.row = replace(self.row, seq=head.seq, hlc=head.hlc, updated_ms=now_ms)


class MemoryStorage:
    """A ``Storage`` without a database; ``base.Storage`` has the promises."""

    is_durable = False

    def __init__(self) -> None:
        self._room_by_id: dict[str, _Room] = {}
        self._is_open = False

    async def open(self) -> None:
        """Begin; what was stored before a ``close`` is still there."""
        self._is_open = True

    async def close(self) -> None:
        """End."""
        self._is_open = False

    async def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        """Store envelopes, all at once."""
        self._check_open()
        rooms = {room_id: self._room_by_id[room_id] for room_id in {r.room_id for r in batch} & self._room_by_id.keys()}
        heads = {
            (request.room_id, request.site): SiteHead(site.epoch, site.last_counter, site.closed)
            for request in batch
            if (room := rooms.get(request.room_id)) and (site := room.site_by_number.get(request.site))
        }
        plan = plan_append(batch, {i: RoomHead(room.row.seq, room.row.hlc) for i, room in rooms.items()}, heads)
        for i in plan.unanswered:
            request = batch[i]
            found = rooms[request.room_id].found(request.site, request.counter)
            plan.answers[i] = answer_from_log(request, found, heads[request.room_id, request.site].last_counter)
        self._write(rooms, plan)
        return [answer for answer in plan.answers if answer is not None]

    async def head(self, room_id: str) -> RoomRow | None:
        """The room, or None."""
        room = self._room(room_id)
        return None if room is None else room.row

    async def create_room(self, room_id: str, now_ms: int) -> RoomRow:
        """The room, made when it does not exist."""
        self._check_open()
        room = self._room_by_id.setdefault(room_id, _Room(RoomRow(room_id, 0, 0, now_ms, now_ms, 0)))
        return room.row

    async def read_ops(
        self, room_id: str, after_seq: int, upto_seq: int | None = None
    ) -> AsyncIterator[Sequence[OpRow]]:
        """Operations in seq order, in chunks."""
        room = self._room(room_id)
        after_seq = max(after_seq, 0)
        while room is not None:
            upto = len(room.log) if upto_seq is None else min(upto_seq, len(room.log))
            rows = room.log[after_seq : min(upto, after_seq + _READ_CHUNK_ROWS)]
            if not rows:
                return
            yield rows
            after_seq = rows[-1].seq
            room = self._room(room_id)

    async def op_at(self, room_id: str, seq: int) -> OpRow | None:
        """The operation at ``seq``."""
        room = self._room(room_id)
        return room.log[seq - 1] if room and 1 <= seq <= len(room.log) else None

    async def find_envelope(self, room_id: str, site: int, counter: int) -> Appended | Refusal | None:
        """What became of the envelope whose first counter this is."""
        room = self._room(room_id)
        return None if room is None else room.found(site, counter)

    async def new_site(self, room_id: str, site: int, actor: str, kind: int, secret_hash: bytes, now_ms: int) -> bool:
        """Enter a site at epoch 1; False when the number is taken."""
        del now_ms
        room = self._room(room_id)
        if room is None:
            raise RoomNotFoundError(room_id)
        if site in room.site_by_number:
            return False
        room.site_by_number[site] = SiteRow(room_id, site, actor, kind, 1, secret_hash, 0)
        return True

    async def site(self, room_id: str, site: int) -> SiteRow | None:
        """The site, or None."""
        room = self._room(room_id)
        return None if room is None else room.site_by_number.get(site)

    async def resume_site(self, room_id: str, site: int, now_ms: int) -> SiteRow | None:
        """Raise the site's epoch and return it; None when it is unknown or closed."""
        del now_ms
        room = self._room(room_id)
        row = None if room is None else room.site_by_number.get(site)
        if room is None or row is None or row.closed:
            return None
        resumed = room.site_by_number[site] = replace(row, epoch=row.epoch + 1)
        return resumed

    async def refuse(self, room_id: str, site: int, epoch: int, refusal: Refusal) -> bool:
        """Store a final refusal; False when fenced or out of order."""
        room = self._room(room_id)
        row = None if room is None else room.site_by_number.get(site)
        if room is None or row is None or row.closed or row.epoch != epoch:
            return False
        refusal = storable_refusal(refusal)
        if refusal.counter != row.last_counter + 1:
            return room.refusal_by_first.get((site, refusal.counter)) == refusal
        room.refusal_by_first[site, refusal.counter] = refusal
        room.site_by_number[site] = replace(row, last_counter=refusal.counter + refusal.ops_count - 1)
        return True

    async def save_snapshot(self, snapshot: SnapshotRow, now_ms: int) -> None:
        """Write a snapshot; only the newest two are kept."""
        del now_ms
        room = self._room(snapshot.room_id)
        if room is None:
            raise RoomNotFoundError(snapshot.room_id)
        if snapshot.seq > room.row.seq:
            raise StorageError(
                f"a snapshot of room {snapshot.room_id!r} at seq {snapshot.seq} is ahead of its log, "
                f"which ends at {room.row.seq}"
            )
        room.snapshots[snapshot.seq] = dict(snapshot.parts)
        for seq in sorted(room.snapshots)[:-_SNAPSHOTS_KEPT]:
            del room.snapshots[seq]
        room.row = replace(room.row, snapshot_seq=max(room.snapshots))

    async def latest_snapshot(self, room_id: str) -> SnapshotRow | None:
        """The newest snapshot, or None."""
        room = self._room(room_id)
        if room is None or not room.snapshots:
            return None
        seq = max(room.snapshots)
        return SnapshotRow(room_id, seq, dict(room.snapshots[seq]))

    async def list_rooms(self, limit: int = 1000, after: str = "") -> list[RoomRow]:
        """Rooms by id, after ``after``."""
        self._check_open()
        return [self._room_by_id[i].row for i in sorted(i for i in self._room_by_id if i > after)[:limit]]

    async def delete_room(self, room_id: str) -> bool:
        """Delete a room with all that belongs to it; False when it was not there."""
        self._check_open()
        return self._room_by_id.pop(room_id, None) is not None

    def _write(self, rooms: dict[str, _Room], plan: AppendPlan) -> None:
        now_ms = time.time_ns() // 1_000_000
        for room_id, head in plan.heads.items():
            rooms[room_id].grow(head, plan.rows[room_id], now_ms)

    def _room(self, room_id: str) -> _Room | None:
        self._check_open()
        return self._room_by_id.get(room_id)

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError("this storage is not open; call open() first, and nothing after close()")
